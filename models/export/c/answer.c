/* The answer: readout.h with this network's sizes, and what is committed to. */
enum { CLASSES = SPIKESIGHT_CLASSES };

/* The class that leads all others by more than a wrong one does in view of them: conformal prediction. */
static int32_t commit(const Spikesight *s) {
    int32_t best = 0;
    double lead = INFINITY;
    for (int k = 1; k < CLASSES; ++k)
        if (s->logits[k] > s->logits[best]) best = k;
    for (int k = 0; k < CLASSES; ++k)
        if (k != best) lead = fmin(lead, (double)s->logits[best] - (double)s->logits[k]);
    for (int k = 0; k < CLASSES; ++k)
        if (k != best && lead <= spikesight_limits[k]) return SPIKESIGHT_NONE;
    return best;
}

/* What readout.h has as the classes' number is unknown, and the next one nothing. */
static int32_t label_of(int32_t hypothesis) {
    return hypothesis < CLASSES ? hypothesis : hypothesis == CLASSES ? SPIKESIGHT_UNKNOWN : SPIKESIGHT_NOTHING;
}

/* One input through the network, from rest where `reset`, and the answer after it. */
static void answer(Spikesight *s, const SpikesightInput *x, bool reset, SpikesightAnswer *a) {
    SpikesightReadout *readout = &s->readout;
    int32_t active = 0;
    for (int i = 0; i < SPIKESIGHT_INPUTS; ++i) active += x[i] != 0;
#if SPIKESIGHT_EVENTS
    reset = spikesight_readout_woken(readout, active) || reset;
#endif
    if (reset) {
        memset(s->state, 0, sizeof s->state);
        spikesight_head_reset(&s->head);
        spikesight_readout_reset(readout);
    }
    memcpy(s->scratch + spikesight_maps[0].at, x, SPIKESIGHT_INPUTS * sizeof *x);
    run_network(s);
    spikesight_readout_step(readout, s->logits, s->rates, active);
    a->step = readout->seen;
    a->best = readout->best;
    a->in_distribution = readout->in_distribution < 0.0 ? 0.0 : readout->in_distribution;
    a->step_label = label_of(readout->step_label);
    a->label = label_of(readout->label);
    a->committed = a->step_label >= 0 ? commit(s) : SPIKESIGHT_NONE;
    a->probabilities = s->probabilities;
    a->logits = s->logits;
    if (s->show) s->show(s->yours, a);
}

void spikesight_step(Spikesight *s, const SpikesightInput *x) {
    SpikesightAnswer a = {0};
    answer(s, x, false, &a);
}

const char *spikesight_label(int32_t label) {
    if (label >= 0 && label < CLASSES) return spikesight_labels[label];
    return label == SPIKESIGHT_UNKNOWN ? "unknown" : label == SPIKESIGHT_NOTHING ? "nothing" : "";
}

static void rest(Spikesight *s, SpikesightShow show, void *yours) {
    memset(s, 0, sizeof *s);
    s->show = show;
    s->yours = yours;
    s->head = (SpikesightHead){
        .classes = CLASSES, .slices = SPIKESIGHT_SLICES, .length = SPIKESIGHT_LENGTH, .noted = SPIKESIGHT_NOTED,
        .observed = SPIKESIGHT_OBSERVED, .rates = SPIKESIGHT_RATES, .places = SPIKESIGHT_PLACES,
        .channels = SPIKESIGHT_CHANNELS, .height = SPIKESIGHT_HEIGHT, .width = SPIKESIGHT_WIDTH,
        .input_places = SPIKESIGHT_INPUT_PLACES, .floats = spikesight_maps[0].is_float,
        .weight = spikesight_weight, .bias = spikesight_bias, .sums = s->observed[0]};
    s->readout = (SpikesightReadout){
        .recent = s->recent[0], .mean = s->mean, .probabilities = s->probabilities, .evidence = s->evidence, .share = s->share,
        .whitened = s->whitened, .distances = s->distances,
#if SPIKESIGHT_RATES
        .whiten = spikesight_whiten[0], .placed = spikesight_placed[0], .lines = spikesight_lines,
#endif
    };
    memcpy(&s->readout.classes, spikesight_sizes, sizeof spikesight_sizes);
    memcpy(&s->readout.active, spikesight_rules, sizeof spikesight_rules);
    spikesight_readout_begin(&s->readout);
}

#if !SPIKESIGHT_EVENTS
void spikesight_begin(Spikesight *s, SpikesightShow show, void *yours) { rest(s, show, yours); }
#endif

