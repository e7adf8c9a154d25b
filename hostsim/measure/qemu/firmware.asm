; The guest that hostsim lets QEMU migrate. NASM syntax; nasm -f bin firmware.asm -o firmware.bin gives the 64 KiB whose two
; parts that are not 0xff stand in firmware.py.
;
; It is its own firmware (-bios): no BIOS, no boot loader, no disk. From the reset vector it goes through protected mode into
; long mode and stays at CPL 3: KVM on processors without virtualization runs nothing else natively, and on VMX and SVM it costs
; nothing. It fills memory, then writes page after page of its working set at a given pace. No interrupt, no stack, no call. The
; host writes the parameters into the image before QEMU starts, and reads the mailbox by the monitor command `xp`.

org 0xF0000
CODE       equ 0x10000              ; the user program is copied to RAM: as ROM it would run from another memslot
STACK      equ 0x18000              ; for one iretq
MAILBOX    equ 0x20000
ROOT       equ 0x8000               ; PML4, then PDPT, then a directory of 2 MiB pages: 1 GiB
POINTERS   equ 0x9000
DIRECTORY  equ 0xA000

STATE      equ 0                    ; 1: memory is filled, writing has begun
WRITES     equ 8                    ; pages written
NOW        equ 16                   ; time stamp counter when it was last read
WRITING    equ 24                   ; ticks spent in writes, faults included

MULTIPLIER equ 6364136223846793005  ; Knuth's MMIX; its upper 31 bits are drawn from
INCREMENT  equ 1442695040888963407

parameters:                         ; firmware.py::Guest has their meaning
fill_first: dq 0
fill_pages: dq 0
set_first:  dq 0
set_pages:  dq 0
pattern:    dq 0                    ; 0 sequential, 1 uniform, 2 hot and cold, 3 nothing is written
hot_pages:  dq 0
hot_share:  dq 0                    ; of 2^31
period:     dq 0                    ; ticks from one write to the next, 0: no pause
gap:        dq 0                    ; more ticks than these between two looks at the clock earn no writes
seed:       dq 0
first:      dq 0                    ; page where the sweep begins

%macro ticks 0                      ; rax = time stamp counter; clobbers rdx
    rdtsc
    shl rdx, 32
    or rax, rdx
%endmacro

%macro draw 1                       ; rax = a page below %1, uniform; clobbers nothing else but the state, rsi
    imul rsi, rdi
    add rsi, rcx
    mov rax, rsi
    shr rax, 33
    imul rax, %1
    shr rax, 31
%endmacro

%macro fill 2                       ; %2 pages from address %1 on, no word of them zero
    mov rbx, %1
    mov r9, %2
    shl r9, 9
    jz %%done
%%word:
    imul rsi, rdi
    add rsi, rcx
    mov rax, rsi
    or rax, 1
    mov [rbx], rax
    add rbx, 8
    dec r9
    jnz %%word
%%done:
%endmacro

bits 64
user:
    mov r15, MAILBOX
    mov rsi, [rel seed]
    mov rdi, MULTIPLIER
    mov rcx, INCREMENT
    fill [rel fill_first], [rel fill_pages]
    fill [rel set_first], [rel set_pages]
    mov r8, [rel set_first]
    mov r9, [rel set_pages]
    mov r10, [rel pattern]
    mov r11, [rel hot_pages]
    mov r12, [rel hot_share]
    mov r13, [rel period]
    mov rbp, [rel first]
    ticks
    mov r14, rax                    ; when the next write is due
    mov [r15 + NOW], rax
    mov qword [r15 + STATE], 1
    cmp r10, 3
    jne again
idle:
    pause
    jmp idle

wait_for_it:
    pause
again:
    mov rbx, [r15 + NOW]
    ticks
    mov [r15 + NOW], rax
    sub rbx, rax                    ; minus the ticks since the last look
    neg rbx
    cmp rbx, [rel gap]
    jbe .paced
    add r14, rbx                    ; the guest did not run: what was due is put off
.paced:
    mov rbx, rax
    sub rax, r14                    ; the counter may wrap, a difference does not
    js wait_for_it
    add r14, r13                    ; a guest that is late catches up
    cmp r10, 1
    je uniform
    ja hot_and_cold
    mov rax, rbp
    inc rbp
    cmp rbp, r9
    jb write
    xor ebp, ebp
write:
    shl rax, 12
    inc qword [r8 + rax]
    inc qword [r15 + WRITES]
    ticks
    sub rax, rbx
    add [r15 + WRITING], rax
    jmp again

uniform:
    draw r9
    jmp write

hot_and_cold:
    mov edx, 0x80000000
    draw rdx
    cmp rax, r12
    jae cold
    draw r11
    jmp write
cold:
    mov rdx, r9
    sub rdx, r11
    draw rdx
    add rax, r11
    jmp write
user_end:

bits 16
start:
    cli
    o32 lgdt [cs:descriptors_place - parameters]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp dword 0x08:protected

bits 32
protected:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, STACK
    mov dword [ROOT], POINTERS + 7
    mov dword [POINTERS], DIRECTORY + 7
    mov edi, DIRECTORY
    mov eax, 0x87                   ; present, writable, user, 2 MiB
    mov ecx, 512
.entry:
    mov [edi], eax
    add edi, 8
    add eax, 0x200000
    dec ecx
    jnz .entry
    mov eax, ROOT
    mov cr3, eax
    mov eax, 0x620                  ; PAE, OSFXSR, OSXMMEXCPT
    mov cr4, eax
    mov ecx, 0xC0000080             ; EFER: LME, NXE, SCE
    mov eax, 0x901
    xor edx, edx
    wrmsr
    mov eax, 0x80050033             ; PG, AM, WP, NE, ET, MP, PE
    mov cr0, eax
    jmp 0x18:long_mode

bits 64
long_mode:
    mov rsi, parameters
    mov rdi, CODE
    mov ecx, (user_end - parameters + 7) / 8
    rep movsq
    push 0x2b                       ; Linux' __USER_DS and __USER_CS: KVM-PVM runs a guest natively only in these
    push STACK
    push 2
    push 0x33
    push CODE + user - parameters
    iretq

align 8
descriptors:
    dq 0
    dq 0x00CF9B000000FFFF           ; 08: code, 32 bit
    dq 0x00CF93000000FFFF           ; 10: data
    dq 0x00AF9B000000FFFF           ; 18: code, 64 bit
    dq 0
    dq 0x00CFF3000000FFFF           ; 2b: data of users
    dq 0x00AFFB000000FFFF           ; 33: code of users, 64 bit
descriptors_place:
    dw $ - descriptors - 1
    dd descriptors
head_end:
    times 0xFFF0 - ($ - $$) db 0xff
bits 16
    jmp 0xF000:start - parameters     ; the reset vector
    times 0x10000 - ($ - $$) db 0xff
