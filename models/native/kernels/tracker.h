/* What a network finds in a camera's full frame. It answers at each place of a picture of the view at several sizes
 * (encoders/pyramid.py), "none of the classes" included, whose logit is 0. What it takes for a class, more than its neighbours
 * in place and size do, is an object; it is the same as one of the steps before if it is the nearest, of the same size, to where
 * that one would be by now. Nothing else steers what is looked at. C99 that is C++ too; memory is handed in.
 */
#ifndef SPIKESIGHT_TRACKER_H
#define SPIKESIGHT_TRACKER_H
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
    SPIKESIGHT_MAX_AGE = 10,   /* steps for which an object is held that is not found, though events come from where it was, or would come */
    SPIKESIGHT_REIDENTIFICATION_WINDOW = 40, /* steps after which what comes into view again, or from behind another object, is a new one */
    SPIKESIGHT_SILENT = 4,   /* cells; with fewer of them lit, nothing came from a place: what is held still sends no events */
    SPIKESIGHT_MIN_HITS = 4,  /* steps before a label is shown */
    SPIKESIGHT_MAX_DETECTIONS = 16,   /* tracks that are found in a step, at most */
    SPIKESIGHT_TRACKS = 32   /* tracks that are held or may return, at most */
};
#define SPIKESIGHT_ACTIVATION_THRESHOLD 0.5  /* least probability of a class for a new object, */
#define SPIKESIGHT_KEEP_THRESHOLD 0.2 /* and for one that is there */
#define SPIKESIGHT_APART 0.5   /* distance within which there is no other object, */
#define SPIKESIGHT_BESIDE 1.0  /* or none of less than MUCH of its probability */
#define SPIKESIGHT_MUCH 0.8
#define SPIKESIGHT_GATE 0.75   /* largest distance of an object from where it would be, by its length */
#define SPIKESIGHT_LARGER 1.6  /* largest ratio of lengths of what is of the same size */
#define SPIKESIGHT_OTHER 0.6   /* how much farther an object counts that is taken for another class */
#define SPIKESIGHT_FOLLOWS 0.5 /* shares of the way to where an object is found that change its place, */
#define SPIKESIGHT_TURNS 0.02  /* and its speed */
#define SPIKESIGHT_LATE 2.5    /* steps by which the network's answers are behind */
#define SPIKESIGHT_AROUND 0.6  /* of a box's length: how far from its middle its events are looked for, */
#define SPIKESIGHT_SHIFTS 0.35 /* and by how much they may shift it */
#define SPIKESIGHT_NEWEST 0.05 /* weight of the newest step in a thing's shares */
#define SPIKESIGHT_SHOW_THRESHOLD 0.65  /* least share of a class to be shown, */
#define SPIKESIGHT_STAY_THRESHOLD 0.55  /* and to stay */
#define SPIKESIGHT_HYSTERESIS 0.2   /* how much surer another object must be to replace the leading one */

typedef struct { double x, y, side; } SpikesightSquare; /* middle and length, in the sensor's pixels */

typedef struct { /* a place that lies in a level */
    SpikesightSquare box;        /* of what is read there */
    int32_t number, row, column; /* among all places of the network's map; where in the canvas it begins to see */
    int32_t kind;                /* the likeliest class over the last steps, */
    double score, left;           /* its probability, and what is left of that in a search */
} SpikesightOutputCell;

typedef struct { /* followed as an alpha-beta filter does it: where it is, and how it moves */
    int32_t id;            /* from 1; 0: of no object */
    int32_t at;            /* the place where it was found last */
    int32_t found, missed; /* steps in which it was found, and those since */
    bool hidden, seen;     /* whether another object was found where it would be, and whether it was found in this step */
    SpikesightSquare box;  /* in which it was found, between those of the places around it */
    double right, down;    /* of its box a step; its size stays */
    double *shares;        /* [classes], the mean over the last steps in which something came from there */
    double in_distribution;          /* the sum of the shares */
    int32_t told;          /* steps in which something came */
    int32_t best, step_label, label; /* classes, `classes` for unknown, classes + 1 for nothing; label -1: none yet */
} SpikesightTrack;

typedef struct {
    /* parameters */
    int32_t classes, n;          /* logits of a place, and places */
    int32_t most, window;        /* tracks at once, and steps over which the answers at a place are averaged */
    int32_t height, width, side, read; /* of the canvas, and of what a place sees of it and reads, in cells */
    SpikesightOutputCell *places;     /* [n] */
    /* memory and state */
    float *recent;               /* [window][n][classes], logits of the last steps */
    uint32_t steps;              /* since the last reset */
    int32_t count, issued;       /* tracks, and numbers given so far */
    int32_t leading;             /* the object whose label the stream shows */
    SpikesightTrack tracks[SPIKESIGHT_TRACKS + 1]; /* by their numbers; the last: what is read where there is none */
} SpikesightTracker;

/* What a step tells, as numbers of one kind for callers in any language. Behind it: probabilities [classes] and logits [classes]
 * of what speaks, and the tracks, in reading order. */
typedef struct { double in_distribution, best, step_label, label, issued, count; } SpikesightTrackerOutput;
typedef struct { double id, label, probability, in_distribution, left, top, width, height; } SpikesightObject;

/* How many numbers a step tells at most. */
static inline size_t spikesight_tracker_output_size(int32_t classes) {
    return (sizeof(SpikesightTrackerOutput) + SPIKESIGHT_MAX_DETECTIONS * sizeof(SpikesightObject)) / sizeof(double) + 2 * (size_t)classes;
}

/* The bytes of a finder and of its memory, which lies behind it; `sizes`: its parameters from `classes` to `read`. */
static inline size_t spikesight_tracker_bytes(const int32_t *sizes) {
    const size_t classes = (size_t)sizes[0], n = (size_t)sizes[1], window = (size_t)sizes[3];
    return sizeof(SpikesightTracker) + sizeof(double) * (SPIKESIGHT_TRACKS + 1) * classes + sizeof(float) * window * n * classes;
}

/* Forget all tracks; their numbers are not given again. */
static inline void spikesight_tracker_reset(SpikesightTracker *f) {
    f->steps = 0;
    f->count = f->tracks[SPIKESIGHT_TRACKS].told = 0;
}

/* Zeros of so many bytes become a finder. */
static inline void spikesight_tracker_begin(SpikesightTracker *f, const int32_t *sizes, SpikesightOutputCell *places) {
    double *shares = (double *)(f + 1);
    memcpy(f, sizes, 8 * sizeof *sizes);
    f->places = places;
    for (int i = 0; i <= SPIKESIGHT_TRACKS; ++i, shares += f->classes) f->tracks[i].shares = shares;
    f->recent = (float *)shares;
}

static inline double spikesight_hundredths(double value) { return rint(100.0 * value) / 100.0; }

static inline bool spikesight_alike(SpikesightSquare a, SpikesightSquare b) { /* in size */
    return fmax(a.side, b.side) <= SPIKESIGHT_LARGER * fmin(a.side, b.side);
}

/* How far two squares lie apart, across or down, by the longer of their sides. */
static inline double spikesight_apart(SpikesightSquare a, SpikesightSquare b) {
    return fmax(fabs(a.x - b.x), fabs(a.y - b.y)) / fmax(a.side, b.side);
}

/* An object's box so many steps after it was found last, if it goes on. */
static inline SpikesightSquare spikesight_after(const SpikesightTrack *one, double steps) {
    const SpikesightSquare box = {one->box.x + steps * one->right, one->box.y + steps * one->down, one->box.side};
    return box;
}

/* How far a box lies from where an object would be by now, by the longer of their sides; infinite if it is of another size. */
static inline double spikesight_off(const SpikesightTrack *one, SpikesightSquare box) {
    const SpikesightSquare there = spikesight_after(one, one->missed + 1);
    return spikesight_alike(there, box) ? hypot(there.x - box.x, there.y - box.y) / fmax(there.side, box.side) : INFINITY;
}

static inline bool spikesight_held(const SpikesightTrack *one) { return one->missed <= SPIKESIGHT_MAX_AGE; } /* counts as seen */

/* Which of n places show different tracks, the surest first (non-maximum suppression): none lies within APART of a surer one, nor
 * within BESIDE of one that is much surer. Their number; `left` is 0 where there is nothing, and becomes so where one is kept. */
static inline int32_t spikesight_distinct(SpikesightOutputCell *places, int32_t n, int32_t *kept) {
    for (int32_t count = 0; count < SPIKESIGHT_MAX_DETECTIONS; ++count) {
        const SpikesightOutputCell *surest = places;
        for (const SpikesightOutputCell *one = places; one < places + n; ++one) surest = one->left > surest->left ? one : surest;
        if (!n || surest->left <= 0.0) return count;
        const SpikesightOutputCell best = *surest;
        kept[count] = (int32_t)(surest - places);
        for (SpikesightOutputCell *one = places; one < places + n; ++one) {
            if (one->left <= 0.0) continue;
            const double away = spikesight_apart(one->box, best.box);
            if (away < SPIKESIGHT_APART || (away < SPIKESIGHT_BESIDE && one->left <= SPIKESIGHT_MUCH * best.left)) one->left = 0.0;
        }
    }
    return SPIKESIGHT_MAX_DETECTIONS;
}

/* The likeliest class at each place over the last steps, and its probability. `logits`: of all places of the network's map. */
static inline void spikesight_tracker_look(SpikesightTracker *f, const float *logits) {
    const uint32_t classes = (uint32_t)f->classes, values = (uint32_t)f->n * classes, window = (uint32_t)f->window;
    float *recent = f->recent, *newest = recent + f->steps++ % window * values;
    for (SpikesightOutputCell *one = f->places; one < f->places + f->n; ++one, recent += classes, newest += classes) {
        double best = -INFINITY, total = 0.0;
        memcpy(newest, logits + one->number * f->classes, classes * sizeof *newest);
        for (int pass = 0; pass < 2; ++pass) /* the largest mean, and then the sum of the powers */
            for (uint32_t k = 0; k < classes; ++k) {
                double mean = 0.0;
                for (uint32_t step = 0; step < f->steps && step < window; ++step) mean += (double)recent[step * values + k];
                mean /= f->steps < window ? f->steps : window;
                if (pass) total += exp(mean - best);
                else if (mean > best) best = mean, one->kind = (int32_t)k;
            }
        one->score = 1.0 / (total + exp(-best));
        one->left = one->score > SPIKESIGHT_KEEP_THRESHOLD ? one->score : 0.0;
    }
}

/* The box of an object between those of the places around one, weighted by their probabilities: a pyramid's levels and places are
 * coarse steps. */
static inline SpikesightSquare spikesight_tracker_between(const SpikesightTracker *f, const SpikesightOutputCell *at) {
    SpikesightSquare mean = {0.0, 0.0, 0.0};
    double total = 0.0;
    for (const SpikesightOutputCell *one = f->places; one < f->places + f->n; ++one) {
        if (one->score < SPIKESIGHT_KEEP_THRESHOLD || !spikesight_alike(one->box, at->box)) continue;
        if (spikesight_apart(one->box, at->box) >= SPIKESIGHT_APART) continue;
        total += one->score;
        mean.x += one->score * one->box.x;
        mean.y += one->score * one->box.y;
        mean.side += one->score * log(one->box.side);
    }
    mean.x /= total;
    mean.y /= total;
    mean.side = exp(mean.side / total);
    return mean;
}

/* Whether something comes from what a place sees. */
static inline bool spikesight_tracker_lit(const SpikesightTracker *f, const uint8_t *canvas, int32_t at) {
    const SpikesightOutputCell *place = &f->places[at];
    int32_t lit = 0;
    for (int32_t plane = 0; plane < 2; ++plane)
        for (int32_t row = place->row; row < place->row + f->side && row < f->height; ++row)
            for (int32_t u = place->column; u < place->column + f->side && u < f->width; ++u)
                lit += canvas[(plane * f->height + row) * f->width + u] != 0;
    return lit >= SPIKESIGHT_SILENT;
}

/* Where an object is now: in the middle of what is lit in the box that the network gives it, as its answers are late and events
 * are not; but not far from there, as events come from other tracks, too. */
static inline SpikesightSquare spikesight_tracker_now(const SpikesightTracker *f, const uint8_t *canvas, const SpikesightOutputCell *place,
                                                     SpikesightSquare box) {
    const double cell = place->box.side / f->read, half = (f->side - 1) / 2.0;
    SpikesightSquare now = box;
    for (int pass = 0; pass < 2; ++pass) {
        double right = 0.0, down = 0.0;
        int32_t lit = 0;
        for (int32_t row = place->row; row < place->row + f->side && row < f->height; ++row)
            for (int32_t u = place->column; u < place->column + f->side && u < f->width; ++u) {
                const double x = place->box.x + (u - place->column - half) * cell, y = place->box.y + (row - place->row - half) * cell;
                if (!(canvas[row * f->width + u] | canvas[(f->height + row) * f->width + u])) continue;
                if (fmax(fabs(x - now.x), fabs(y - now.y)) > SPIKESIGHT_AROUND * box.side) continue;
                right += x, down += y, lit += 1;
            }
        if (lit < 2 * SPIKESIGHT_SILENT) break;
        now.x = right / lit, now.y = down / lit;
    }
    return spikesight_apart(now, box) < SPIKESIGHT_SHIFTS ? now : box;
}

/* How far a place lies from where an object would be; infinite if it is too far: the longer the object was not seen, the farther it
 * may be. What is taken for another class counts as farther. */
static inline double spikesight_tracker_far(const SpikesightTrack *one, const SpikesightOutputCell *place, SpikesightSquare box) {
    const double off = spikesight_off(one, box), far = SPIKESIGHT_GATE * fmax(1.0, (double)one->missed / SPIKESIGHT_MAX_AGE);
    const bool other = place->kind != one->best;
    return off < far && (spikesight_held(one) || !other) ? off + SPIKESIGHT_OTHER * other : INFINITY;
}

/* It is found at a place again; the first times count more. */
static inline void spikesight_track_move(const SpikesightTracker *f, const uint8_t *canvas, const SpikesightOutputCell *place, SpikesightSquare box,
                                         SpikesightTrack *one) {
    const SpikesightSquare there = spikesight_after(one, one->missed + 1);
    const double follows = fmax(SPIKESIGHT_FOLLOWS, 1.0 / ++one->found), turns = fmax(SPIKESIGHT_TURNS, 1.0 / (one->found + 2));
    const double ahead_x = SPIKESIGHT_LATE * one->right, ahead_y = SPIKESIGHT_LATE * one->down;
    const SpikesightSquare ahead = {box.x + ahead_x, box.y + ahead_y, box.side}, now = spikesight_tracker_now(f, canvas, place, ahead);
    const double right = now.x - ahead_x - there.x, down = now.y - ahead_y - there.y; /* from where it was LATE steps ago */
    one->right += turns * right;
    one->down += turns * down;
    one->box.x = there.x + follows * right;
    one->box.y = there.y + follows * down;
    one->box.side = there.side + follows * (box.side - there.side);
}

/* Move the tracks to the places where they are found, begin new ones and forget what is gone. `moved`: whether what is there
 * sends events for score. */
static inline void spikesight_tracker_follow(SpikesightTracker *f, const int32_t *found, int32_t n, const uint8_t *canvas, bool moved) {
    SpikesightTrack *const tracks = f->tracks, *next = tracks;
    SpikesightSquare boxes[SPIKESIGHT_MAX_DETECTIONS];
    bool taken[SPIKESIGHT_MAX_DETECTIONS] = {false};
    int32_t held = 0;
    for (SpikesightTrack *one = tracks; one < tracks + f->count; ++one) one->seen = false, held += spikesight_held(one);
    for (int32_t i = 0; i < n; ++i) boxes[i] = spikesight_tracker_between(f, &f->places[found[i]]);
    for (int32_t left = n; left > 0; --left) { /* what lies nearest to an object, and then what is none of them, the surest first */
        SpikesightTrack *nearest = NULL;
        double least = INFINITY;
        int32_t i = 0;
        while (taken[i]) ++i;
        for (int32_t k = i; k < n; ++k)
            for (SpikesightTrack *one = tracks; !taken[k] && one < tracks + f->count; ++one) {
                const double far = one->seen ? INFINITY : spikesight_tracker_far(one, &f->places[found[k]], boxes[k]);
                if (far < least) least = far, nearest = one, i = k;
            }
        const SpikesightOutputCell *place = &f->places[found[i]];
        taken[i] = true;
        if (nearest) {
            held += !spikesight_held(nearest);
            spikesight_track_move(f, canvas, place, boxes[i], nearest);
        } else if (place->score > SPIKESIGHT_ACTIVATION_THRESHOLD && held < f->most && f->count < SPIKESIGHT_TRACKS) {
            held += 1;
            nearest = &tracks[f->count++];
            nearest->id = ++f->issued;
            nearest->found = 1;
            nearest->told = 0;
            nearest->box = spikesight_tracker_now(f, canvas, place, boxes[i]);
            nearest->right = nearest->down = 0.0;
        } else continue;
        nearest->at = found[i];
        nearest->missed = 0;
        nearest->seen = true;
    }
    for (SpikesightTrack *one = tracks; one < tracks + f->count; ++one) {
        one->hidden = false;
        if (one->seen) continue;
        for (const SpikesightTrack *other = tracks; other < tracks + f->count; ++other)
            one->hidden |= other->seen && spikesight_off(one, other->box) < SPIKESIGHT_GATE;
        if (moved || one->hidden || spikesight_tracker_lit(f, canvas, one->at)) one->missed += 1;
        else one->right = one->down = 0.0; /* it holds still */
    }
    for (SpikesightTrack *one = tracks; one < tracks + f->count; ++one) {
        const SpikesightTrack kept = *one;
        if (kept.missed > SPIKESIGHT_REIDENTIFICATION_WINDOW) continue;
        *one = *next; /* swapped, so that each has memory of its own */
        *next++ = kept;
    }
    f->count = (int32_t)(next - tracks);
}

/* The newest logits where an object is. */
static inline const float *spikesight_tracker_newest(const SpikesightTracker *f, const SpikesightTrack *one) {
    return f->recent + ((f->steps - 1) % (uint32_t)f->window * (uint32_t)f->n + (uint32_t)one->at) * (uint32_t)f->classes;
}

/* Read out one object in a step: "none of the classes" has a share, too, so that what is taken for one class after another is
 * none. */
static inline void spikesight_tracker_read(const SpikesightTracker *f, SpikesightTrack *one, const uint8_t *canvas) {
    const int32_t classes = f->classes;
    const float *logits = spikesight_tracker_newest(f, one);
    if (!one->told) { /* nothing came so far */
        memset(one->shares, 0, (size_t)classes * sizeof *one->shares);
        one->label = -1;
    }
    if (!one->hidden && spikesight_tracker_lit(f, canvas, one->at)) {
        const double weight = fmax(SPIKESIGHT_NEWEST, 1.0 / ++one->told);
        double highest = 0.0, total = 0.0;
        for (int32_t k = 0; k < classes; ++k) highest = fmax(highest, (double)logits[k]);
        for (int32_t k = 0; k < classes; ++k) total += exp((double)logits[k] - highest);
        total += exp(-highest);
        for (int32_t k = 0; k < classes; ++k) one->shares[k] += weight * (exp((double)logits[k] - highest) / total - one->shares[k]);
    }
    one->best = 0;
    one->in_distribution = 0.0;
    for (int32_t k = 0; k < classes; ++k) {
        one->in_distribution += one->shares[k];
        if (one->shares[k] > one->shares[one->best]) one->best = k;
    }
    const double least = one->label == one->best ? SPIKESIGHT_STAY_THRESHOLD : SPIKESIGHT_SHOW_THRESHOLD;
    one->step_label = !one->told ? classes + 1 : one->shares[one->best] >= least ? one->best : classes;
    one->label = one->told >= SPIKESIGHT_MIN_HITS || one->step_label >= classes ? one->step_label : classes;
}

/* Line by line, each from the left; a line holds what has its middle above the bottom of its topmost. */
static inline void spikesight_in_reading_order(SpikesightObject *objects, int32_t n) {
    for (int32_t begin = 0, end = 0; begin < n; begin = end) {
        const SpikesightObject *top = objects + begin;
        for (const SpikesightObject *one = top; one < objects + n; ++one) top = one->top < top->top ? one : top;
        const double bottom = top->top + top->height;
        for (int32_t i = begin; i < n; ++i) {
            const SpikesightObject one = objects[i];
            if (one.top + one.height / 2 > bottom) continue;
            int32_t at = end++;
            objects[i] = objects[at];
            for (; at > begin && objects[at - 1].left > one.left; --at) objects[at] = objects[at - 1];
            objects[at] = one;
        }
    }
}

/* The tracks that are shown, in reading order, and their number. `first`: the leading one, the surest until another is clearly
 * surer; null without any. */
static inline int32_t spikesight_tracker_show(SpikesightTracker *f, SpikesightObject *objects, const SpikesightTrack **first) {
    SpikesightOutputCell places[SPIKESIGHT_TRACKS] = {{{0.0, 0.0, 0.0}, 0, 0, 0, 0, 0.0, 0.0}};
    int32_t kept[SPIKESIGHT_MAX_DETECTIONS];
    for (int32_t i = 0; i < f->count; ++i) {
        const SpikesightTrack *one = &f->tracks[i];
        places[i].box = spikesight_after(one, SPIKESIGHT_LATE + (one->hidden ? one->missed : 0));
        places[i].score = places[i].left = spikesight_held(one) && one->label < f->classes ? one->shares[one->best] : 0.0;
    }
    const int32_t n = spikesight_distinct(places, f->count, kept);
    *first = n ? &f->tracks[kept[0]] : NULL;
    for (int32_t i = 0; i < n; ++i) {
        const SpikesightTrack *one = &f->tracks[kept[i]];
        const SpikesightSquare box = places[kept[i]].box;
        const double score = places[kept[i]].score, side = spikesight_hundredths(box.side);
        const SpikesightObject object = {(double)one->id, (double)one->label, score / one->in_distribution, one->in_distribution,
                                         spikesight_hundredths(box.x - box.side / 2), spikesight_hundredths(box.y - box.side / 2), side, side};
        objects[i] = object;
        if (one->id == f->leading && places[kept[0]].score <= score + SPIKESIGHT_HYSTERESIS) *first = one;
    }
    f->leading = n ? (*first)->id : f->leading;
    spikesight_in_reading_order(objects, n);
    return n;
}

/* A step: find tracks in the network's logits for a canvas, and read them out. `moved`: whether what is there sends events for
 * score. Writes to `told`, of `spikesight_tracker_output_size` numbers. */
static inline void spikesight_tracker_step(SpikesightTracker *f, const uint8_t *canvas, const float *logits, bool moved, double *told) {
    SpikesightTrack *nothing = &f->tracks[SPIKESIGHT_TRACKS];
    const SpikesightTrack *speaks = NULL, *first;
    SpikesightObject objects[SPIKESIGHT_MAX_DETECTIONS];
    int32_t found[SPIKESIGHT_MAX_DETECTIONS];
    spikesight_tracker_look(f, logits);
    spikesight_tracker_follow(f, found, spikesight_distinct(f->places, f->n, found), canvas, moved);
    for (SpikesightTrack *one = f->tracks; one < f->tracks + f->count; ++one) {
        if (spikesight_held(one)) spikesight_tracker_read(f, one, canvas);
        else one->told = 0;
        if (spikesight_held(one) && (!speaks || one->shares[one->best] > speaks->shares[speaks->best])) speaks = one;
    }
    if (!speaks) { /* the likeliest place */
        for (int32_t at = nothing->at = 0; at < f->n; ++at) nothing->at = f->places[at].score > f->places[nothing->at].score ? at : nothing->at;
        spikesight_tracker_read(f, nothing, canvas);
        speaks = nothing;
    } else nothing->told = 0;
    const int32_t classes = f->classes, none = speaks == nothing ? classes + 1 : classes; /* where no object is shown, no class is */
    const int32_t n = spikesight_tracker_show(f, objects, &first);
    speaks = first ? first : speaks;
    const int32_t step_label = first || speaks->step_label >= classes ? speaks->step_label : none;
    const int32_t label = first || speaks->label >= classes ? speaks->label : none;
    const SpikesightTrackerOutput head = {speaks->in_distribution, (double)speaks->best, (double)step_label, (double)label, (double)f->issued, (double)n};
    memcpy(told, &head, sizeof head);
    told += sizeof head / sizeof *told;
    for (int32_t k = 0; k < classes; ++k, ++told) {
        told[0] = speaks->shares[k] / fmax(speaks->in_distribution, 1e-9);
        told[classes] = (double)spikesight_tracker_newest(f, speaks)[k];
    }
    memcpy(told + classes, objects, (size_t)n * sizeof *objects);
}
#endif
