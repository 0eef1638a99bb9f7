/* ---------------------------------------------------------------------------------------------------------------------
 * Events to bins: put in order, filtered where there is noise, binned. The bins depend on the events alone, however they
 * come in pieces.
 */
#if SPIKESIGHT_EVENTS
enum { SENSOR_WIDTH = SPIKESIGHT_SENSOR_WIDTH, SENSOR_HEIGHT = SPIKESIGHT_SENSOR_HEIGHT, WIDTH = SPIKESIGHT_GRID_WIDTH, HEIGHT = SPIKESIGHT_GRID_HEIGHT, CELLS = 2 * WIDTH * HEIGHT };
static const int64_t BACK_US = 100000, GAP_US = 1000000, FURTHEST_US = (int64_t)1 << 60, BIN_US = SPIKESIGHT_BIN_US;

/* The bin closes: the network steps. */
static void close_bin(Spikesight *s) {
    SpikesightAnswer a = {0};
    const bool reset = s->reset;
    a.start_us = s->origin;
    a.end_us = s->origin + BIN_US;
    a.n_events = s->n_open;
#if SPIKESIGHT_SHOWN > 1 /* an input shows what came in the last bins, this one among them */
    for (int i = 0; i < CELLS; ++i) {
        if (reset) s->since[i] = SPIKESIGHT_SHOWN;
        s->since[i] = s->open[i] ? 0 : (uint16_t)least(s->since[i] + 1, SPIKESIGHT_SHOWN);
        s->open[i] = s->since[i] < SPIKESIGHT_SHOWN;
    }
#endif
    s->origin = a.end_us;
    s->reset = false;
    s->n_open = 0;
#if SPIKESIGHT_FOLLOWS
    if (reset) forget(s);
    crop(s, s->open, s->around);
    answer(s, s->around, reset, &a);
#else
    answer(s, s->open, reset, &a);
#endif
    memset(s->open, 0, sizeof s->open);
}

static void close_until(Spikesight *s, int64_t end_us) {
    const int64_t horizon = s->origin + BIN_US + GAP_US; /* what goes on from the open bin is not later */
    if (end_us > horizon) end_us = horizon;
    while (s->counting && s->origin + BIN_US <= end_us) close_bin(s);
}

/* Close what is open, and wait for an event to begin anew. */
static void stop(Spikesight *s) {
    if (s->counting && s->n_open) close_bin(s);
    s->reset = s->reset || s->counting;
    s->counting = false;
}

void spikesight_flush(Spikesight *s) {
    stop(s);
    s->n_partial = 0;
}

void spikesight_tick(Spikesight *s, int64_t now_us) {
    if (!s->counting) return;
    const int64_t limit = s->last + GAP_US;
    close_until(s, now_us < limit ? now_us : limit);
    if (now_us > limit) stop(s);
}

/* How many central lines of `side` are seen where `other` x `side` is brought to the shape of `to_other` x `to_side`. */
static int crop_of(int side, int other, int to_side, int to_other) {
    return (int64_t)side * to_other > (int64_t)other * to_side ? most(1, other * to_side / to_other) : side;
}

/* Line i of `side` to one of `target`, by the central `crop` of them; -1 outside. */
static int line_of(int i, int side, int crop, int target) {
    const int at = i - (side - crop) / 2;
    return at < 0 || at >= crop ? -1 : at * target / crop;
}

/* An event that was kept, on the sensor of the training, to its cell of the open bin. */
static void add_event(Spikesight *s, int64_t t, int x, int y, int on) {
    int64_t floor_us = s->origin > s->last ? s->origin : s->last;
    if (s->counting && (t < floor_us - BACK_US || t - s->last > GAP_US || t > s->origin + BIN_US + GAP_US)) {
        if (t > s->last) close_until(s, s->last + GAP_US);
        stop(s);
    }
    if (!s->counting) s->origin = s->last = floor_us = t, s->counting = true;
    if (t < floor_us) t = floor_us;
    s->last = t;
    while (s->origin + BIN_US <= t) close_bin(s);
    const int column = line_of(x, SENSOR_WIDTH, crop_of(SENSOR_WIDTH, SENSOR_HEIGHT, WIDTH, HEIGHT), WIDTH);
    const int row = line_of(y, SENSOR_HEIGHT, crop_of(SENSOR_HEIGHT, SENSOR_WIDTH, HEIGHT, WIDTH), HEIGHT);
    if (column < 0 || row < 0) return;
    uint8_t *cell = &s->open[(row * WIDTH + column) * 2 + on];
    *cell = (uint8_t)(*cell + (*cell < SPIKESIGHT_CEILING));
    ++s->n_open;
}

#if !SPIKESIGHT_FOLLOWS
/* The first of `crop` lines that is one of `target`'s line i. */
static int first_of(int i, int crop, int target) { return (i * crop + target - 1) / target; }

/* A larger camera: each pixel of the small sensor sums the signs of what it covers, and fires at its area. */
static bool sum_up(Spikesight *s, int *x, int *y, int on) {
    const int wide = crop_of(s->width, s->height, SENSOR_WIDTH, SENSOR_HEIGHT);
    const int high = crop_of(s->height, s->width, SENSOR_HEIGHT, SENSOR_WIDTH);
    *x = line_of(*x, s->width, wide, SENSOR_WIDTH);
    *y = line_of(*y, s->height, high, SENSOR_HEIGHT);
    if (*x < 0 || *y < 0) return false;
    const int across = first_of(*x + 1, wide, SENSOR_WIDTH) - first_of(*x, wide, SENSOR_WIDTH);
    const int down = first_of(*y + 1, high, SENSOR_HEIGHT) - first_of(*y, high, SENSOR_HEIGHT);
    int32_t *level = &s->level[*y][*x];
    *level += on ? 1 : -1;
    if ((on ? *level : -*level) < across * down) return false;
    *level = 0;
    return true;
}
#endif

#if SPIKESIGHT_FILTER_US
/* Whether an event passes the noise filter: by the rate of lone events, with none of the eight pixels around lately,
 * all pass, or those that are not lone, or those with three such pixels in four times the time. */
static bool passes(Spikesight *s, int64_t t, int x, int y) {
    enum { GATE_US = 5000, WIDE = 4, NEEDED = 3 };
    const int64_t never = -((int64_t)1 << 62);
    const int64_t interval = t / GATE_US - (t % GATE_US < 0), before = s->filtered / GATE_US - (s->filtered % GATE_US < 0);
    if (s->filtering && interval != before) {
        const double rate_hz = s->lone / ((double)SENSOR_WIDTH * SENSOR_HEIGHT * GATE_US * 1e-6);
        s->rate_hz = s->rated ? s->rate_hz + 0.15 * (rate_hz - s->rate_hz) : rate_hz;
        s->rated = true;
        s->lone = 0;
    }
    if (!s->filtering || t < s->filtered)
        for (int i = 0; i < (SENSOR_HEIGHT + 2) * (SENSOR_WIDTH + 2); ++i) (&s->fired[0][0])[i] = never;
    s->filtering = true;
    s->filtered = t;
    int some = 0, near = 0;
    for (int dy = 0; dy < 3; ++dy)
        for (int dx = 0; dx < 3; ++dx) {
            const int64_t age = t - s->fired[y + dy][x + dx];
            if (dy == 1 && dx == 1) continue;
            some += age <= SPIKESIGHT_FILTER_US;
            near += age <= WIDE * SPIKESIGHT_FILTER_US;
        }
    s->fired[y + 1][x + 1] = t;
    s->lone += !some;
    if (s->rated && s->rate_hz > 7.0) return near >= NEEDED;
    return some || (s->rated && s->rate_hz <= SPIKESIGHT_FILTER_FROM_HZ);
}
#endif

static void take(Spikesight *s, const SpikesightEvent *event) {
    int64_t t = event->t > FURTHEST_US ? FURTHEST_US : event->t < -FURTHEST_US ? -FURTHEST_US : event->t;
    int x = event->x, y = event->y;
    if (s->ordered && t < s->newest) {
        if (s->newest - t <= BACK_US) t = s->newest;
        else stop(s); /* the clock began anew */
    }
    s->ordered = true;
    s->newest = t;
    if (x >= s->width || y >= s->height) {
        ++s->n_outside;
#if !SPIKESIGHT_FOLLOWS
    } else if (s->width != SENSOR_WIDTH || s->height != SENSOR_HEIGHT) {
        if (sum_up(s, &x, &y, event->on != 0)) add_event(s, t, x, y, event->on != 0);
#endif
#if SPIKESIGHT_FILTER_US
    } else if (!passes(s, t, x, y)) { /* left out */
#endif
    } else {
        add_event(s, t, x, y, event->on != 0);
    }
    spikesight_tick(s, t);
}

void spikesight_events(Spikesight *s, const SpikesightEvent *events, size_t n) {
    for (size_t i = 0; i < n; ++i) take(s, &events[i]);
}

bool spikesight_begin(Spikesight *s, uint16_t width, uint16_t height, SpikesightShow show, void *yours) {
    const bool same = width == SENSOR_WIDTH && height == SENSOR_HEIGHT;
    if (!same && (SPIKESIGHT_FOLLOWS || width / SENSOR_WIDTH < 2 || height / SENSOR_HEIGHT < 2 || width > 2048 || height > 2048)) return false;
    rest(s, show, yours);
    s->width = width;
    s->height = height;
    s->high = -1;
#if SPIKESIGHT_FOLLOWS
    forget(s);
#endif
#if SPIKESIGHT_SHOWN > 1
    for (int i = 0; i < CELLS; ++i) s->since[i] = SPIKESIGHT_SHOWN;
#endif
    return true;
}

/* ------------------------------------------------------------------------------------------------ words of cameras */

/* The time base with the clock's wraps counted: a step back of more than half its range is one. */
static int64_t next_high(int64_t high, int64_t fresh, int bits) {
    const int64_t period = (int64_t)1 << bits;
    if (high < 0) return fresh;
    fresh += high / period * period;
    return fresh < high - period / 2 ? fresh + period : fresh;
}

static void put(Spikesight *s, int64_t t, uint32_t x, uint32_t y, uint32_t on) {
    const SpikesightEvent event = {t, (uint16_t)x, (uint16_t)y, (uint8_t)on};
    take(s, &event);
}

static void evt2_word(Spikesight *s, const uint8_t *b) {
    const uint32_t word = b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24, kind = word >> 28;
    if (kind == 8) s->high = next_high(s->high, (int64_t)(word & 0x0FFFFFFF) << 6, 34);
    else if (kind <= 1 && s->high >= 0) put(s, s->high | (word >> 22 & 0x3F), word >> 11 & 0x7FF, word & 0x7FF, kind);
}

static void evt3_word(Spikesight *s, const uint8_t *b) {
    const uint32_t word = b[0] | (uint32_t)b[1] << 8, kind = word >> 12, value = word & 0x7FF;
    const bool ready = s->high >= 0 && s->has_row;
    if (kind == 0) s->row = value, s->has_row = 1;
    else if (kind == 2 && ready) put(s, s->high | s->low, value, s->row, word >> 11 & 1);
    else if (kind == 3) s->column = value, s->polarity = word >> 11 & 1;
    else if (kind == 4 || kind == 5) { /* a vector of 12 or 8 columns */
        const uint32_t wide = kind == 4 ? 12 : 8;
        for (uint32_t i = 0; i < wide && ready; ++i)
            if (word >> i & 1) put(s, s->high | s->low, s->column + i, s->row, s->polarity);
        s->column = (uint32_t)least((int)(s->column + wide), 0x7FF - 12);
    } else if (kind == 6) s->low = word & 0xFFF;
    else if (kind == 8) s->high = next_high(s->high, (int64_t)(word & 0xFFF) << 12, 24);
}

static void nmnist_word(Spikesight *s, const uint8_t *b) {
    if (b[1] == 240) s->ahead += 1 << 13; /* no event: the camera's clock has gone on */
    else put(s, s->ahead + ((b[2] & 0x7F) << 16 | b[3] << 8 | b[4]), b[0], b[1], b[2] >> 7);
}

static void words(Spikesight *s, const uint8_t *bytes, size_t n, uint8_t size, void (*word)(Spikesight *, const uint8_t *)) {
    for (size_t i = 0; i < n; ++i) {
        s->partial[s->n_partial++] = bytes[i];
        if (s->n_partial < size) continue;
        s->n_partial = 0;
        word(s, s->partial);
    }
}

void spikesight_evt2(Spikesight *s, const void *bytes, size_t n) { words(s, bytes, n, 4, evt2_word); }
void spikesight_evt3(Spikesight *s, const void *bytes, size_t n) { words(s, bytes, n, 2, evt3_word); }
void spikesight_nmnist(Spikesight *s, const void *bytes, size_t n) { words(s, bytes, n, 5, nmnist_word); }
#endif
