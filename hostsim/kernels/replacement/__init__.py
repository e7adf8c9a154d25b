"""Page replacement over a string of references: FIFO, one-bit CLOCK, LRU and Belady's MIN."""
