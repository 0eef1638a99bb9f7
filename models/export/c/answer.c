/* ---------------------------------------------------------------------------------------------------------------------
 * The read-out: the mean of the last steps, how familiar the input is, which label to show and which to hold it for.
 * Sums are doubles, a few hundred a step.
 */
enum { CLASSES = SPIKESIGHT_CLASSES, RATES = SPIKESIGHT_RATES, VALUES = CLASSES + RATES + 1 };

static void begin_window(Spikesight *s) {
    s->seen = 0;
    memset(s->evidence, 0, sizeof s->evidence);
}

static uint32_t steps_of(const Spikesight *s) { return s->seen < SPIKESIGHT_HORIZON ? (uint32_t)s->seen : SPIKESIGHT_HORIZON; }

/* Values of a step to those of the last SPIKESIGHT_HORIZON; their means, of steps from the oldest to the newest. */
static void remember(Spikesight *s, float active, double *mean) {
    float *row = s->recent[s->seen++ % SPIKESIGHT_HORIZON];
    memcpy(row, s->logits, sizeof s->logits);
    memcpy(row + CLASSES, s->rates, RATES * sizeof *row);
    row[VALUES - 1] = active;
    const uint32_t n = steps_of(s);
    for (int v = 0; v < VALUES; ++v) mean[v] = 0.0;
    for (uint64_t i = s->seen - n; i < s->seen; ++i)
        for (int v = 0; v < VALUES; ++v) mean[v] += (double)s->recent[i % SPIKESIGHT_HORIZON][v];
    for (int v = 0; v < VALUES; ++v) mean[v] /= n;
}

static double log_sum(const double *values, double scale) { /* log of the sum of e^(value / scale) */
    double highest = values[0], sum = 0.0;
    for (int k = 1; k < CLASSES; ++k) highest = values[k] > highest ? values[k] : highest;
    for (int k = 0; k < CLASSES; ++k) sum += exp((values[k] - highest) / scale);
    return highest / scale + log(sum);
}

/* Probabilities of the mean logits; `known`, or -1 where there is nothing. */
static double judge(Spikesight *s, const double *mean) {
    double temperature = 1.0, known = 1.0;
#if SPIKESIGHT_RATES
    const float *line = spikesight_lines[steps_of(s) - 1]; /* temperature, distance, energy, shown, kept, active */
    temperature = (double)line[0];
    if (mean[VALUES - 1] < (double)line[7]) {
        known = -1.0;
    } else {
        double at[RATES] = {0}, distances[SPIKESIGHT_CENTRES] = {0}, nearest;
        for (int from = 0; from < RATES; ++from) {
            const double rate = sqrt(mean[CLASSES + from]);
            for (int to = 0; to < RATES; ++to) at[to] += (double)spikesight_whiten[from][to] * rate;
        }
        for (int to = 0; to < RATES; ++to)
            for (int k = 0; k < SPIKESIGHT_CENTRES; ++k) {
                const double away = at[to] - spikesight_placed[to][k];
                distances[k] += away * away;
            }
        nearest = distances[0];
        for (int k = 1; k < SPIKESIGHT_CENTRES; ++k) nearest = distances[k] < nearest ? distances[k] : nearest;
        const double far = (log(nearest > 1e-12 ? nearest : 1e-12) - (double)line[1]) / (double)line[2];
        const double cold = (-log_sum(mean, 1.0) - (double)line[3]) / (double)line[4];
        const double exponent = SPIKESIGHT_SLOPE * (far + cold - (double)line[6]) / ((double)line[6] - (double)line[5]);
        known = 1.0 / (1.0 + exp(exponent < -60.0 ? -60.0 : exponent > 60.0 ? 60.0 : exponent));
    }
#else
    if (mean[VALUES - 1] <= 0.0) known = -1.0; /* no line to judge by: nothing is what has no event at all */
#endif
    const double all = log_sum(mean, temperature);
    for (int k = 0; k < CLASSES; ++k) s->probabilities[k] = exp(mean[k] / temperature - all);
    return known;
}

/* The label to show: hypotheses are the classes, unknown and nothing. Each collects the log odds between it and what is
 * shown, never below 0 (Page 1954); the first with enough is shown next. `known` -1: there is nothing. */
static void weigh(Spikesight *s, double known) {
    enum { ALL = CLASSES + 2 };
    const double least = SPIKESIGHT_LABEL_LEAST;
    double share[ALL], highest = -1.0, second = -1.0;
    const int index = s->steady, shown = index <= CLASSES ? index : -1; /* -1: none yet */
    int best = 0;
    for (int k = 0; k < CLASSES; ++k) share[k] = s->probabilities[k] * (known > 0.0 ? known : 0.0);
    share[CLASSES] = known >= 0.0 ? 1.0 - known : 0.0;
    share[CLASSES + 1] = known < 0.0 ? 1.0 : 0.0;
    for (int k = 0; k < ALL; ++k) {
        const double lower = share[k] < highest ? share[k] : highest;
        second = lower > second ? lower : second;
        highest = share[k] > highest ? share[k] : highest;
    }
    for (int k = 0; k < ALL; ++k) {
        const double rival = shown >= 0 ? share[shown] : share[k] == highest ? second : highest;
        double gained = log((share[k] > least ? share[k] : least) / (rival > least ? rival : least));
        gained /= SPIKESIGHT_LABEL_INERTIA;
        if (k == index || (gained > 0.0 && share[k] - rival <= SPIKESIGHT_LABEL_MARGIN)) gained = 0.0;
        if (gained > 0.0 && k == CLASSES + 1) gained *= SPIKESIGHT_LABEL_LULL; /* what is held still sends no events either */
        s->evidence[k] = s->evidence[k] + gained > 0.0 ? s->evidence[k] + gained : 0.0;
        if (s->evidence[k] > s->evidence[best]) best = k;
    }
    const bool first = index < 0 || index == CLASSES + 1;
    if (s->evidence[best] < (first ? SPIKESIGHT_LABEL_FIRST : SPIKESIGHT_LABEL_OTHER)) return;
    memset(s->evidence, 0, sizeof s->evidence);
    s->steady = best;
}

/* The class that leads all others by more than a wrong one does in view of them: conformal prediction. */
static int32_t commit(const Spikesight *s) {
#if SPIKESIGHT_COMMITS
    int32_t best = 0;
    double lead = INFINITY;
    for (int k = 1; k < CLASSES; ++k)
        if (s->logits[k] > s->logits[best]) best = k;
    for (int k = 0; k < CLASSES; ++k)
        if (k != best) lead = fmin(lead, (double)s->logits[best] - (double)s->logits[k]);
    for (int k = 0; k < CLASSES; ++k)
        if (k != best && lead <= spikesight_limits[k]) return SPIKESIGHT_NONE;
    return best;
#else
    (void)s; /* nothing was calibrated at this bin */
    return SPIKESIGHT_NONE;
#endif
}

/* One input through the network, from rest where `reset`, and the answer after it. */
static void answer(Spikesight *s, const SpikesightInput *x, bool reset, SpikesightAnswer *a) {
    double mean[VALUES];
    int active = 0;
    for (int i = 0; i < SPIKESIGHT_INPUTS; ++i) active += x[i] != 0;
#if SPIKESIGHT_RATES && SPIKESIGHT_EVENTS
    if ((double)active < SPIKESIGHT_ACTIVE) { /* membranes are left to rest while there is nothing to see */
        s->quiet += s->quiet < SPIKESIGHT_STEPS;
    } else {
        reset = reset || s->quiet >= SPIKESIGHT_STEPS;
        s->quiet = 0;
    }
#endif
    if (reset) {
        memset(s->state, 0, sizeof s->state);
#if SPIKESIGHT_SLICES
        memset(s->observed, 0, sizeof s->observed);
        s->remembered = 0;
#endif
        begin_window(s);
    }
    memcpy(s->scratch + spikesight_maps[0].at, x, SPIKESIGHT_INPUTS * sizeof *x);
    run_network(s);
    remember(s, (float)active, mean);
    const double known = judge(s, mean);
    weigh(s, known);
    a->step = s->seen;
    a->best = 0;
    for (int k = 1; k < CLASSES; ++k)
        if (s->probabilities[k] > s->probabilities[a->best]) a->best = k;
    a->known = known < 0.0 ? 0.0 : known;
    a->label = known < 0.0 ? SPIKESIGHT_NOTHING : known < SPIKESIGHT_LABEL_KEPT ? SPIKESIGHT_UNKNOWN : a->best;
    a->steady = s->steady < CLASSES ? s->steady : s->steady == CLASSES ? SPIKESIGHT_UNKNOWN : SPIKESIGHT_NOTHING;
    a->committed = a->label >= 0 ? commit(s) : SPIKESIGHT_NONE;
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
    s->steady = -1;
    s->show = show;
    s->yours = yours;
}

#if !SPIKESIGHT_EVENTS
void spikesight_begin(Spikesight *s, SpikesightShow show, void *yours) { rest(s, show, yours); }
#endif

