// What Python calls of what becomes of a network's logits: tracker.h.
#include "tracker.h"

#define CALLED extern "C" int64_t

CALLED tracker_bytes(const int32_t* sizes) { return int64_t(spikesight_tracker_bytes(sizes)); }
CALLED tracker_output_size(int64_t classes) { return int64_t(spikesight_tracker_output_size(int32_t(classes))); }

// `issued`: numbers of tracks that were given before.
CALLED tracker_begin(SpikesightTracker* f, const int32_t* sizes, SpikesightOutputCell* places, int64_t issued) {
    spikesight_tracker_begin(f, sizes, places);
    f->issued = int32_t(issued);
    return 0;
}

CALLED tracker_step(SpikesightTracker* f, const uint8_t* canvas, const float* logits, int64_t moved, int64_t reset, double* told) {
    if (reset) spikesight_tracker_reset(f);
    spikesight_tracker_step(f, canvas, logits, moved, told);
    return 0;
}
