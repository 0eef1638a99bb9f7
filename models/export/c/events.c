/* Events to steps of the network: front.h and follow.h with this network's sizes, and the words of cameras. */
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
    s->words.high = -1;
    s->front = (SpikesightFront){
        .width = width, .height = height, .seen_width = WIDTH, .seen_height = HEIGHT, .grid_width = SPIKESIGHT_GRID_WIDTH,
        .grid_height = SPIKESIGHT_GRID_HEIGHT, .shown = SPIKESIGHT_SHOWN, .ceiling = SPIKESIGHT_CEILING,
        .bin_us = SPIKESIGHT_BIN_US, .filter_us = SPIKESIGHT_FILTER_US, .from_hz = SPIKESIGHT_FILTER_FROM_HZ,
        .close = step_of, .yours = s, .open = s->open, .since = s->since,
        .fired = same && SPIKESIGHT_FILTER_US ? s->fired : NULL, .level = same ? NULL : s->level};
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

static void put(void *yours, int64_t t, uint32_t x, uint32_t y, bool on) {
    spikesight_front_take(&((Spikesight *)yours)->front, t, (int32_t)x, (int32_t)y, on);
}

static void words(Spikesight *s, const uint8_t *bytes, size_t n, uint8_t size,
                  void (*word)(SpikesightWords *, const uint8_t *, SpikesightPut, void *)) {
    for (size_t i = 0; i < n; ++i) {
        s->partial[s->n_partial++] = bytes[i];
        if (s->n_partial < size) continue;
        s->n_partial = 0;
        word(&s->words, s->partial, put, s);
    }
}

void spikesight_evt2(Spikesight *s, const void *bytes, size_t n) { words(s, bytes, n, 4, spikesight_evt2_word); }
void spikesight_evt3(Spikesight *s, const void *bytes, size_t n) { words(s, bytes, n, 2, spikesight_evt3_word); }
void spikesight_nmnist(Spikesight *s, const void *bytes, size_t n) { words(s, bytes, n, 5, spikesight_nmnist_word); }
#endif
