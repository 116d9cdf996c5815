# A guest of one sector, for hosts that are too slow for a real one: it writes its count to a block
# chosen at random, then to the first block (the head), and so on. See ../writer-guest.ts.
.code16
.set kBlocks, 4096
.set kFirstSector, 2048
.set kHeadSector, 8
.set kBuffer, 0x8000
start:
    ljmp $0, $begin
begin:
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $0x7c00, %sp
    movb %dl, drive
next:
    incl count
    imull $1664525, state, %eax
    addl $1013904223, %eax
    movl %eax, state
    shrl $16, %eax
    andl $(kBlocks - 1), %eax
    shll $3, %eax
    addl $kFirstSector, %eax
    movl %eax, sector
    call write
    movl $kHeadSector, sector
    call write
    jmp next

# A block full of the count; again when it fails.
write:
    cld
    movl count, %eax
    movw $kBuffer, %di
    movw $1024, %cx
    rep stosl
again:
    movw $8, packet + 2
    movw $packet, %si
    movb drive, %dl
    movw $0x4300, %ax
    int $0x13
    jc again
    ret

.balign 4
packet:
    .byte 16, 0
    .word 8
    .word kBuffer, 0
sector:
    .long 0, 0
count:
    .long 0
state:
    .long 1
drive:
    .byte 0
.org 510
    .word 0xaa55
