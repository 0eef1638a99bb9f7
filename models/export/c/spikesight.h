/* Spikesight in C99: events of a camera in, labels out. No dependency, no heap, no threads, no global variables.
 *
 *     static Spikesight eye;                       all the memory there is: sizeof(Spikesight) bytes, yours
 *     spikesight_begin(&eye, 34, 34, show, NULL);  the camera's width and height
 *     spikesight_evt3(&eye, bytes, n);             as they come; show() is called for every bin that they close
 *     spikesight_flush(&eye);                      the recording has ended
 *
 * The network's logits have the bits of Spikesight in Python, for every compiler that keeps to IEEE 754: build with
 * -ffp-contract=off and without -ffast-math. Multiply-adds are rounded once (fmaf), as by the kernels of processors
 * that have such an instruction; with -DSPIKESIGHT_FUSED=0 twice, as by those for processors that have none.
 */
#ifndef SPIKESIGHT_H
#define SPIKESIGHT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "follow.h"
#include "front.h"
#include "model.h"
#include "readout.h"
#include "words.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SPIKESIGHT_NONE = -1, SPIKESIGHT_UNKNOWN = -2, SPIKESIGHT_NOTHING = -3 }; /* labels that are no class */

typedef struct {
    int64_t t;     /* microseconds, within 2^60 of zero: what is further counts as that */
    uint16_t x, y; /* column and row, row 0 on top; off the sensor: the event is left out */
    uint8_t on;    /* 1 brighter, 0 darker */
} SpikesightEvent;

typedef struct {                /* after one step of the network: a bin, or an input of your own */
    uint64_t step;              /* 1, 2, ... since the network last began from rest */
    int64_t start_us, end_us;   /* of the bin, on the events' clock */
    uint32_t n_events;          /* in the bin, as far as the network sees them */
    int32_t step_label;              /* the best class, or UNKNOWN, or NOTHING where too few events came */
    int32_t best;               /* the best class, whatever the label */
    int32_t label;             /* the label to show, which does not flicker; NONE before there was evidence */
    int32_t committed;          /* the commitment's label at an error rate of 5 %, but without the alarm; or NONE */
    double in_distribution;               /* 0 to 1: how familiar the input is; below 0.5 it is UNKNOWN */
    const double *probabilities; /* [SPIKESIGHT_CLASSES] */
    const float *logits;        /* [SPIKESIGHT_CLASSES], of this step alone */
} SpikesightAnswer;

typedef void (*SpikesightShow)(void *yours, const SpikesightAnswer *answer);

typedef struct { /* nothing in here is for other hands */
    float state[SPIKESIGHT_STATE]; /* the membranes */
    float scratch[SPIKESIGHT_SCRATCH];
    float logits[SPIKESIGHT_CLASSES];
    float noted[SPIKESIGHT_NOTED + 1]; /* rates of the layers, and what `in_distribution` is judged by */
    float rates[SPIKESIGHT_RATES + 1];
    SpikesightHead head;
    float observed[SPIKESIGHT_SLICES + 1][SPIKESIGHT_OBSERVED];
    SpikesightReadout readout;
    float recent[SPIKESIGHT_HORIZON][SPIKESIGHT_CLASSES + SPIKESIGHT_RATES + 1];
    double mean[SPIKESIGHT_CLASSES + SPIKESIGHT_RATES + 1], probabilities[SPIKESIGHT_CLASSES];
    double evidence[SPIKESIGHT_CLASSES + 2], share[SPIKESIGHT_CLASSES + 2];
    double whitened[SPIKESIGHT_RATES + 1], distances[SPIKESIGHT_CENTRES + 1];
    SpikesightShow show;
    void *yours;
#if SPIKESIGHT_EVENTS
    SpikesightFront front;
    uint8_t open[2 * SPIKESIGHT_GRID_HEIGHT * SPIKESIGHT_GRID_WIDTH];
    uint16_t since[SPIKESIGHT_SHOWN > 1 ? 2 * SPIKESIGHT_GRID_HEIGHT * SPIKESIGHT_GRID_WIDTH : 1];
    int32_t level[SPIKESIGHT_FOLLOWS ? 1 : SPIKESIGHT_SENSOR_HEIGHT * SPIKESIGHT_SENSOR_WIDTH];
#if SPIKESIGHT_FOLLOWS
    SpikesightFollow follow;
    uint8_t around[SPIKESIGHT_INPUTS];
#endif
    int64_t fired[SPIKESIGHT_FILTER_US ? (SPIKESIGHT_SENSOR_HEIGHT + 2) * (SPIKESIGHT_SENSOR_WIDTH + 2) : 1];
    SpikesightWords words;
    uint8_t n_partial, partial[8];
#endif
} Spikesight;

/* One step of the network on an input of your own, [height][width][channels]; the answer comes to `show` as well. */
void spikesight_step(Spikesight *s, const SpikesightInput *x);

/* Make ready for a stream, `show` to be called with `yours` after every step. */
#if SPIKESIGHT_EVENTS
/* The camera has the sensor that the network was trained on, or is at least twice as wide and as high: then the middle
 * of it is summed to that sensor's pixels (not for networks that follow what moves). False, and nothing is ready, for
 * any other. */
bool spikesight_begin(Spikesight *s, uint16_t width, uint16_t height, SpikesightShow show, void *yours);

/* Events in the order in which they came, however many at once: the answers are the same. One at most 0.1 s behind the
 * newest counts at the newest time; further behind is a clock that began anew, and so does the network. */
void spikesight_events(Spikesight *s, const SpikesightEvent *events, size_t n);

/* The same as bytes of a camera: EVT 2.0 and 3.0 of Prophesee (little endian), and the five bytes an event of N-MNIST.
 * A word may be cut anywhere, its rest is awaited; words that say nothing are passed over. One kind a stream. */
void spikesight_evt2(Spikesight *s, const void *bytes, size_t n);
void spikesight_evt3(Spikesight *s, const void *bytes, size_t n);
void spikesight_nmnist(Spikesight *s, const void *bytes, size_t n);

/* No event came until `now_us`, on the events' clock: close the bins that end by then. */
void spikesight_tick(Spikesight *s, int64_t now_us);

/* The stream has ended: close the open bin, if there are events in it. */
void spikesight_flush(Spikesight *s);
#else
void spikesight_begin(Spikesight *s, SpikesightShow show, void *yours);
#endif

/* The class's name; "unknown", "nothing", or "" for NONE. */
const char *spikesight_label(int32_t label);

/* ------------------------------------------------------------------------------ what model.c is made of */

typedef struct { /* activations, [height][width][channels]: currents, or bytes (spikes and sums of spikes) */
    uint32_t at; /* in the scratch memory, floats */
    uint16_t height, width, channels;
    uint8_t is_float;
} SpikesightMap;

typedef struct {
    int16_t source; /* a map; -1: there is no such convolution */
    uint8_t kernel, stride, pad;
    const SpikesightWeight *weight; /* [inputs][kernel][kernel][outputs]; NULL: a pool takes the map itself */
    const float *scale;             /* [outputs] that its sums are multiplied by; NULL: 1 */
} SpikesightConvolution;

typedef struct { /* without weights: output channel first + c takes input channel c */
    int16_t source;
    uint8_t stride;
    uint16_t first;
} SpikesightShortcut;

enum { SPIKESIGHT_MAX = 1, SPIKESIGHT_AVERAGE, SPIKESIGHT_HALVE };                /* pools: 3x3, 3x3, 2x2; stride 2 */
enum { SPIKESIGHT_LIF, SPIKESIGHT_CLIF, SPIKESIGHT_PSN, SPIKESIGHT_PACED, SPIKESIGHT_QUIET = 9 }; /* neurons */

typedef struct {
    uint16_t height, width, channels; /* of the output */
    uint8_t pool;                     /* 0: none */
    SpikesightConvolution main, side; /* both are summed; a pool pools main's sums */
    const float *bias;
    uint32_t sums, row;        /* in the scratch memory: the layer's sums; a row of what is pooled */
    SpikesightShortcut before; /* added to the sums */
    SpikesightShortcut after;  /* added to the spikes */
    int16_t spikes;            /* the map that is written; -1: the sums are all */
    uint8_t neuron, delay, zero, inclusive, taps;
    float beta, theta, gain, limit, charge;
    const float *filter; /* PSN: [taps + 1], the newest input's first, the bias last */
    uint32_t state;      /* of the membranes, in floats; further parts follow, each of the layer's size */
    uint8_t places;      /* a side, in which rates are noted; 0: none are */
    uint32_t rates;      /* where */
} SpikesightLayer;

extern const SpikesightMap spikesight_maps[];
extern const SpikesightLayer spikesight_layers[SPIKESIGHT_LAYERS];
extern const float spikesight_weight[], spikesight_bias[SPIKESIGHT_CLASSES]; /* of the read-out, [channels][classes], or of a taught
                                                                        head, [slices observed][classes] */
extern const char *const spikesight_labels[SPIKESIGHT_CLASSES];
extern const int32_t spikesight_sizes[5]; /* of the read-out: readout.h */
extern const double spikesight_rules[9];
#if SPIKESIGHT_RATES
extern const float spikesight_whiten[SPIKESIGHT_RATES][SPIKESIGHT_RATES]; /* [from][to] */
extern const double spikesight_placed[SPIKESIGHT_RATES][SPIKESIGHT_CENTRES]; /* the classes' means, whitened */
extern const float spikesight_lines[SPIKESIGHT_HORIZON][8];
#endif
extern const double spikesight_limits[SPIKESIGHT_CLASSES]; /* of the lead at which the class is ruled out */

#ifdef __cplusplus
}
#endif
#endif
