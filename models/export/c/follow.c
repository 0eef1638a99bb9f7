/* ---------------------------------------------------------------------------------------------------------------------
 * A step cropped around what moves, by the events of the last steps, weighted by their age (for networks that were
 * taught, or trained, so). Sums are taken in the order of NumPy's, for the same last digit.
 */
#if SPIKESIGHT_FOLLOWS
enum { SIDE = 16 }; /* of the grid in which events are counted */

static double sum_of(const double *a, int n) { /* n: a multiple of 8, up to 128; or twice that */
    double r[8];
    if (n > 128) return sum_of(a, n / 2) + sum_of(a + n / 2, n / 2);
    memcpy(r, a, sizeof r);
    for (int i = 8; i < n; ++i) r[i % 8] += a[i];
    return ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
}

/* Median of the positions 0.5, 1.5, ... with these weights, and the mean distance from it. */
static double median_of(const double *weights, double *spread) {
    double sums[SIDE], away[SIDE], sum = 0.0;
    int at = 0;
    for (int i = 0; i < SIDE; ++i) sums[i] = sum += weights[i];
    while (sums[at] < sum / 2.0) ++at;
    const double median = at + (sum / 2.0 - (sums[at] - weights[at])) / weights[at];
    for (int i = 0; i < SIDE; ++i) away[i] = fabs(i + 0.5 - median) * weights[i];
    *spread = sum_of(away, SIDE) / sum;
    return median;
}

static void forget(Spikesight *s) {
    for (int i = 0; i < SIDE * SIDE; ++i) s->crowd[i] = 300.0 / (SIDE * SIDE);
}

/* What a bin shows, [GRID_HEIGHT][GRID_WIDTH][2], to an input around the thing. */
static void crop(Spikesight *s, const uint8_t *seen, uint8_t *x) {
    enum { HIGH = SPIKESIGHT_GRID_HEIGHT, WIDE = SPIKESIGHT_GRID_WIDTH };
    enum { CELL_HEIGHT = (HIGH + SIDE - 1) / SIDE, CELL_WIDTH = (WIDE + SIDE - 1) / SIDE };
    double above[SIDE * SIDE], columns[SIDE] = {0}, rows[SIDE], found[SIDE * SIDE] = {0}, spread_x, spread_y;
    bool any = false;
    for (int i = 0; i < HIGH * WIDE * 2; ++i)
        if (seen[i]) found[i / 2 / WIDE / CELL_HEIGHT * SIDE + i / 2 % WIDE / CELL_WIDTH] += 1.0;
    for (int i = 0; i < SIDE * SIDE; ++i) s->crowd[i] = s->crowd[i] * SPIKESIGHT_KEPT + SPIKESIGHT_SHARE * found[i];
    const double mean = sum_of(s->crowd, SIDE * SIDE) / (SIDE * SIDE);
    for (int i = 0; i < SIDE * SIDE; ++i) {
        above[i] = s->crowd[i] > mean ? s->crowd[i] - mean : 0.0; /* noise is spread evenly, a thing is not */
        any = any || above[i] != 0.0;
    }
    for (int i = 0; i < SIDE * SIDE && !any; ++i) above[i] = 1.0;
    for (int y = 0; y < SIDE; ++y) {
        rows[y] = sum_of(above + y * SIDE, SIDE);
        for (int i = 0; i < SIDE; ++i) columns[i] += above[y * SIDE + i];
    }
    const double middle_x = median_of(columns, &spread_x) * CELL_WIDTH, middle_y = median_of(rows, &spread_y) * CELL_HEIGHT;
    const double extent = 2.2 * hypot(spread_x * CELL_WIDTH, spread_y * CELL_HEIGHT), half = extent > 1.0 ? extent : 1.0;
    memset(x, 0, SPIKESIGHT_INPUTS);
    for (int i = 0; i < HIGH * WIDE * 2; ++i) {
        if (!seen[i]) continue;
        const double u = floor(((i / 2 % WIDE + 0.5 - middle_x) / half + 1.0) / 2.0 * SPIKESIGHT_WIDTH);
        const double v = floor(((i / 2 / WIDE + 0.5 - middle_y) / half + 1.0) / 2.0 * SPIKESIGHT_HEIGHT);
        if (u >= 0.0 && u < SPIKESIGHT_WIDTH && v >= 0.0 && v < SPIKESIGHT_HEIGHT)
            x[((int)v * SPIKESIGHT_WIDTH + (int)u) * 2 + i % 2] = 1;
    }
}
#endif

