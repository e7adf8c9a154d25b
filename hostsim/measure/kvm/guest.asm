; The guest that hostsim measures KVM with. NASM syntax; nasm -f bin guest.asm -o guest.bin gives the bytes of guest.py.
;
; It runs in 64-bit user mode (CPL 3, IOPL 3): KVM on processors without virtualization runs nothing else natively, and on
; VMX and SVM it costs nothing. There is no kernel, no interrupt. rdi points to the vCPU's mailbox, whose page ends in a stack. The
; guest waits until the host writes `go`, carries out one command, and rings a doorbell (OUT), which ends KVM_RUN in user space.

bits 64
org 0x10000

DOORBELL   equ 0xE0                 ; user space is woken
EVENT      equ 0xE1                 ; an exit that an ioeventfd may end in the kernel

COMMAND    equ 0                    ; index into `commands`
BASE       equ 8                    ; first address
STRIDE     equ 16                   ; bytes from one access to the next
COUNT      equ 24                   ; accesses of a pass, at least 1
EVERY      equ 32                   ; mixed: one access in so many writes; paced: ticks from one write to the next; scatter: pages
                                    ; from one write to the next, odd
PASSES     equ 40                   ; passes over the memory, at least 1
SAMPLES    equ 48                   ; paced: address of one 32-bit tick count for each write
GO         equ 56                   ; the host sets it, the guest clears it when the command is done
STOP       equ 64                   ; ends `spin`
READY      equ 72                   ; the guest is in guest mode and waits for `go`
BEGIN      equ 80                   ; time stamp counter before the command
END        equ 88                   ; and after it
PROGRESS   equ 96                   ; writes that `spin` has made
BEFORE     equ 104                  ; ticks of `pace` before the command
AFTER      equ 112                  ; and after it

PACE_TURNS equ 20000
STACK      equ 4096                 ; its end, from the mailbox on

%macro ticks 0                      ; rax = time stamp counter, read when all before is done; clobbers rdx
    lfence
    rdtsc
    shl rdx, 32
    or rax, rdx
    lfence
%endmacro

    jmp await

align 16
pace:                               ; rax = ticks of a loop that fills the core; the host calls it too, as a C function
    ticks
    mov r8, rax
    mov ecx, PACE_TURNS
align 32
.turn:                              ; as many instructions as the core can begin in a cycle: whatever the core's other thread
    add rax, 1                      ; begins, and a lower clock, lengthens the loop at once
    add rdx, 1
    add rsi, 1
    add r9, 1
    xor r10, 5
    xor r11, 7
    dec ecx
    jnz .turn
    ticks
    sub rax, r8
    ret

await:
    lea rsp, [rdi + STACK]
    mov qword [rdi + READY], 1
.again:
    pause
    cmp qword [rdi + GO], 0
    je .again
    mov qword [rdi + READY], 0
    call pace
    mov [rdi + BEFORE], rax
    mov r8, [rdi + BASE]
    mov r9, [rdi + STRIDE]
    mov r10, [rdi + COUNT]
    mov r11, [rdi + EVERY]
    mov r12, [rdi + PASSES]
    mov r13, [rdi + SAMPLES]
    mov rbx, [rdi + COMMAND]
    ticks
    mov r14, rax
    jmp [commands + rbx * 8]

done:
    ticks
    mov [rdi + BEGIN], r14
    mov [rdi + END], rax
    call pace
    mov [rdi + AFTER], rax
    mov qword [rdi + GO], 0
    out DOORBELL, al
    jmp await

write:                              ; every page of every pass
    mov rbx, r8
    mov rcx, r10
.page:
    mov [rbx], rcx
    add rbx, r9
    dec rcx
    jnz .page
    dec r12
    jnz write
    jmp done

read:
    mov rbx, r8
    mov rcx, r10
.page:
    mov rax, [rbx]
    add rbx, r9
    dec rcx
    jnz .page
    dec r12
    jnz read
    jmp done

mixed:                              ; the first of every EVERY pages is written, the others are read
    mov rbx, r8
    mov rcx, r10
    mov rdx, 1
.page:
    dec rdx
    jz .write
    mov rax, [rbx]
.next:
    add rbx, r9
    dec rcx
    jnz .page
    dec r12
    jnz mixed
    jmp done
.write:
    mov [rbx], rcx
    mov rdx, r11
    jmp .next

paced:                              ; one write each EVERY ticks, each timed alone
    mov r15, r14
.page:
    add r15, r11
.early:
    pause
    ticks
    cmp rax, r15
    jb .early
    mov rsi, rax
    mov [r8], r10
    ticks
    sub rax, rsi
    mov [r13], eax
    add r13, 4
    add r8, r9
    dec r10
    jnz .page
    jmp done

spin:                               ; writes page after page, round and round, until the host sets `stop`
    xor eax, eax
.round:
    mov rbx, r8
    mov rcx, r10
.page:
    cmp qword [rdi + STOP], 0
    jne done
    inc rax
    mov [rbx], rax
    mov [rdi + PROGRESS], rax
    add rbx, r9
    dec rcx
    jnz .page
    jmp .round

event:                              ; COUNT exits
    out EVENT, al
    dec r10
    jnz event
    jmp done

scatter:                            ; every page once, pages in a row far apart; COUNT is a power of two
    xor ebx, ebx
    mov rcx, r10
    lea rdx, [r10 - 1]
.page:
    mov rax, rbx
    imul rax, r9
    mov [r8 + rax], rcx
    add rbx, r11
    and rbx, rdx
    dec rcx
    jnz .page
    jmp done

kernel:                             ; begins here at CPL 0: KVM may emulate each instruction there, so no wait and no `pace`
    mov r8, [rdi + BASE]
    mov r9, [rdi + STRIDE]
    mov r10, [rdi + COUNT]
    mov r13, [rdi + SAMPLES]
    mov r12, r13
    mov rbx, [rdi + COMMAND]
    rdtsc                           ; LFENCE, as in `ticks`, KVM does not emulate
    shl rdx, 32
    or rax, rdx
    mov [rdi + BEGIN], rax
    jmp [commands + rbx * 8]

ended:
    rdtsc
    shl rdx, 32
    or rax, rdx
    mov [rdi + END], rax
    mov qword [rdi + GO], 0
    out DOORBELL, al
    jmp kernel

move:                               ; as long as the loops below, with MOV in place of the instruction
    mov rcx, r8
    add r8, r9
    dec r10
    jnz move
    jmp ended

invalidate:                         ; INVLPG of COUNT pages
    invlpg [r8]
    add r8, r9
    dec r10
    jnz invalidate
    jmp ended

turn:                               ; COUNT reads of an array of roots at SAMPLES, which ends with a 0
    mov rax, [r12]
    add r12, 8
    cmp rax, 0
    jne .load
    mov r12, r13
    jmp turn
.load:
    mov rcx, rax
    dec r10
    jnz turn
    jmp ended

load:                               ; the same, each loaded into CR3
    mov rax, [r12]
    add r12, 8
    cmp rax, 0
    jne .load
    mov r12, r13
    jmp load
.load:
    mov cr3, rax
    dec r10
    jnz load
    jmp ended

align 8
commands: dq done, write, read, mixed, paced, spin, event, scatter, move, invalidate, turn, load
