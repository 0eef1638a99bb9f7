// What Python calls of what becomes of a network's logits: finder.h.
#include "finder.h"

#define CALLED extern "C" int64_t

CALLED finder_bytes(const int32_t* sizes) { return int64_t(spikesight_finder_bytes(sizes)); }
CALLED finder_told(int64_t classes) { return int64_t(spikesight_finder_told(int32_t(classes))); }

// `issued`: numbers of things that were given before.
CALLED finder_begin(SpikesightFinder* f, const int32_t* sizes, SpikesightPlace* places, int64_t issued) {
    spikesight_finder_begin(f, sizes, places);
    f->issued = int32_t(issued);
    return 0;
}

CALLED finder_step(SpikesightFinder* f, const uint8_t* atlas, const float* logits, int64_t moved, int64_t reset, double* told) {
    if (reset) spikesight_finder_reset(f);
    spikesight_finder_step(f, atlas, logits, moved, told);
    return 0;
}
