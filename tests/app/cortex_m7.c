/* A recording of N-MNIST through a Cortex-M7 without an operating system, under QEMU's mps2-an500: the file comes, and the
 * answers go, by semihosting. A line holds the bin's end, the label and the logits' bits; the last one the instructions
 * that all of it took, which `-icount shift=0` counts as nanoseconds of a clock of 25 MHz. */
#include "spikesight.h"

extern uint32_t stack_top;
static Spikesight eye;
typedef char in_256_kB[sizeof(Spikesight) <= 256 * 1024 ? 1 : -1];
static char line[512];

static int call(int op, const void *arguments) {
    register int r0 __asm__("r0") = op;
    register const void *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static char *put_hex(char *at, uint32_t value) {
    for (int shift = 28; shift >= 0; shift -= 4) *at++ = "0123456789abcdef"[value >> shift & 15];
    *at++ = ' ';
    return at;
}

static void show(void *yours, const SpikesightAnswer *a) {
    char *at = put_hex(line, (uint32_t)a->end_us);
    (void)yours;
    at = put_hex(at, (uint32_t)a->label);
    for (int k = 0; k < SPIKESIGHT_CLASSES; ++k) {
        union {
            float value;
            uint32_t bits;
        } logit = {a->logits[k]};
        at = put_hex(at, logit.bits);
    }
    at[-1] = '\n';
    *at = 0;
    call(4, line); /* SYS_WRITE0 */
}

static volatile uint32_t *const SYST = (uint32_t *)0xE000E010; /* control, reload, value */

static void run(void) {
    static uint8_t bytes[4096];
    const uintptr_t opened[] = {(uintptr_t) "recording.bin", 1, 13}; /* rb */
    const uintptr_t file = (uintptr_t)call(1, opened);
    uint64_t ticks = 0;
    SYST[1] = 0xFFFFFF;
    SYST[0] = 5; /* on, by the processor's clock */
    spikesight_begin(&eye, 34, 34, show, NULL);
    for (int left = 0; left < (int)sizeof bytes;) {
        const uintptr_t reading[] = {file, (uintptr_t)bytes, sizeof bytes};
        left = call(6, reading); /* how much was not read */
        SYST[2] = 0;
        for (int i = 0; i < (int)sizeof bytes - left; i += 16) { /* in steps shorter than the counter */
            const uint32_t before = SYST[2];
            spikesight_nmnist(&eye, bytes + i, (size_t)((int)sizeof bytes - left - i < 16 ? (int)sizeof bytes - left - i : 16));
            ticks += (before - SYST[2]) & 0xFFFFFF;
        }
    }
    const uint32_t before = SYST[2];
    spikesight_flush(&eye);
    ticks += (before - SYST[2]) & 0xFFFFFF;
    char *at = put_hex(line, (uint32_t)(ticks * 40 >> 32));
    at = put_hex(at, (uint32_t)(ticks * 40));
    at[-1] = '\n';
    *at = 0;
    call(4, line);
    call(0x18, (void *)0x20026); /* SYS_EXIT, as it should be */
}

void reset(void) {
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20; /* the floating-point unit */
    __asm__ volatile("dsb\n isb");
    run();
    for (;;) {}
}

__attribute__((section(".vectors"), used)) static const void *const vectors[] = {&stack_top, (const void *)reset};
