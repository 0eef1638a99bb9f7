/* A recording on standard input, an answer a line on standard output:
 *
 *     example nmnist|evt2|evt3 WIDTH HEIGHT < recording     bytes of such a camera, without a file's header
 *     example steps < inputs                               inputs of the network, [height][width][channels] each
 *
 * A line holds the bin's end in us, the label, the one to show, the one that is held for, how familiar the input is,
 * and the logits of the step, with tabs between. */
#include "spikesight.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Spikesight eye; /* no heap */

static void show(void *yours, const SpikesightAnswer *a) {
    FILE *out = yours;
    const char *label = spikesight_label(a->label), *held = spikesight_label(a->committed);
    fprintf(out, "%lld\t%s\t%s\t%s\t%.6f", (long long)a->end_us, spikesight_label(a->step_label), *label ? label : "-",
            *held ? held : "-", a->in_distribution);
    for (int k = 0; k < SPIKESIGHT_CLASSES; ++k) fprintf(out, "\t%.9g", (double)a->logits[k]);
    fputc('\n', out);
}

static int steps(void) {
    static SpikesightInput x[SPIKESIGHT_INPUTS];
#if SPIKESIGHT_EVENTS
    spikesight_begin(&eye, SPIKESIGHT_SENSOR_WIDTH, SPIKESIGHT_SENSOR_HEIGHT, show, stdout);
#else
    spikesight_begin(&eye, show, stdout);
#endif
    while (fread(x, sizeof x, 1, stdin) == 1) spikesight_step(&eye, x);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "steps")) return steps();
#if SPIKESIGHT_EVENTS
    if (argc == 4) {
        void (*const take)(Spikesight *, const void *, size_t) = !strcmp(argv[1], "nmnist") ? spikesight_nmnist
                                                                 : !strcmp(argv[1], "evt2") ? spikesight_evt2
                                                                 : !strcmp(argv[1], "evt3") ? spikesight_evt3
                                                                                            : NULL;
        const long width = strtol(argv[2], NULL, 10), height = strtol(argv[3], NULL, 10);
        static unsigned char bytes[4096];
        if (take && width > 0 && width <= 2048 && height > 0 && height <= 2048 &&
            spikesight_begin(&eye, (uint16_t)width, (uint16_t)height, show, stdout)) {
            for (size_t n; (n = fread(bytes, 1, sizeof bytes, stdin)) > 0;) take(&eye, bytes, n);
            spikesight_flush(&eye);
            return 0;
        }
        fprintf(stderr, "the camera must be one of %d x %d pixels, or at least twice as wide and high\n", SPIKESIGHT_SENSOR_WIDTH,
                SPIKESIGHT_SENSOR_HEIGHT);
        return 2;
    }
#endif
    fprintf(stderr, "usage: %s nmnist|evt2|evt3 WIDTH HEIGHT < recording, or %s steps < inputs\n", argv[0], argv[0]);
    return 2;
}
