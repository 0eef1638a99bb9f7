/* ---------------------------------------------------------------------------------------------------------------------
 * Events to steps of the network: front.h and follow.h with this network's sizes, and the words of cameras.
 */
#if SPIKESIGHT_EVENTS
static void step_of(void *yours, const SpikesightBin *bin) {
    Spikesight *s = yours;
    SpikesightAnswer a = {0};
    const uint8_t *x = bin->x;
    a.start_us = bin->start_us;
    a.end_us = bin->end_us;
    a.n_events = bin->n_events;
#if SPIKESIGHT_FOLLOWS
    spikesight_follow_crop(&s->follow, x, bin->reset, s->around);
    x = s->around;
#endif
    answer(s, x, bin->reset, &a);
}

bool spikesight_begin(Spikesight *s, uint16_t width, uint16_t height, SpikesightShow show, void *yours) {
    enum { WIDTH = SPIKESIGHT_SENSOR_WIDTH, HEIGHT = SPIKESIGHT_SENSOR_HEIGHT, LARGEST = 2048 };
    const bool same = width == WIDTH && height == HEIGHT, sums = !SPIKESIGHT_FOLLOWS && spikesight_sums(width, height, WIDTH, HEIGHT);
    if (!same && (!sums || width > LARGEST || height > LARGEST)) return false;
    rest(s, show, yours);
    s->high = -1;
    s->front = (SpikesightFront){
        .width = width, .height = height, .seen_width = WIDTH, .seen_height = HEIGHT, .grid_width = SPIKESIGHT_GRID_WIDTH,
        .grid_height = SPIKESIGHT_GRID_HEIGHT, .shown = SPIKESIGHT_SHOWN, .ceiling = SPIKESIGHT_CEILING,
        .bin_us = SPIKESIGHT_BIN_US, .filter_us = SPIKESIGHT_FILTER_US, .from_hz = SPIKESIGHT_FILTER_FROM_HZ,
        .close = step_of, .yours = s, .open = s->open,
#if SPIKESIGHT_SHOWN > 1
        .since = s->since,
#endif
#if SPIKESIGHT_FILTER_US
        .fired = same ? s->fired[0] : NULL,
#endif
#if !SPIKESIGHT_FOLLOWS
        .level = same ? NULL : s->level[0],
#endif
    };
    spikesight_front_begin(&s->front);
#if SPIKESIGHT_FOLLOWS
    s->follow = (SpikesightFollow){
        .seen_width = SPIKESIGHT_GRID_WIDTH, .seen_height = SPIKESIGHT_GRID_HEIGHT, .width = SPIKESIGHT_WIDTH,
        .height = SPIKESIGHT_HEIGHT, .kept = SPIKESIGHT_KEPT, .share = SPIKESIGHT_SHARE};
    spikesight_follow_reset(&s->follow);
#endif
    return true;
}

void spikesight_events(Spikesight *s, const SpikesightEvent *events, size_t n) {
    for (const SpikesightEvent *one = events; one < events + n; ++one)
        spikesight_front_take(&s->front, one->t, one->x, one->y, one->on != 0);
}

void spikesight_tick(Spikesight *s, int64_t now_us) { spikesight_front_tick(&s->front, now_us); }

void spikesight_flush(Spikesight *s) {
    spikesight_front_stop(&s->front);
    s->n_partial = 0;
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
    spikesight_front_take(&s->front, t, (int32_t)x, (int32_t)y, on != 0);
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
