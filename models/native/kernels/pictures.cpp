// What finding a drawing (encoders/preprocess/drawing.py, `_ink`) does to whole pictures, for a browser: service/page/offline.
#if defined(__wasm__)
#include "lanes.h"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace {

using Plane = std::vector<uint8_t>;
constexpr int SPARE = 16;  // bytes behind a plane that a vector may touch

Bytes16 bytes16(const uint8_t* p) {
    Bytes16 v;
    memcpy(&v, p, sizeof v);
    return v;
}
Bytes16 smaller(Bytes16 a, Bytes16 b) { return a < b ? a : b; }
Bytes16 larger(Bytes16 a, Bytes16 b) { return a > b ? a : b; }
Bytes16 middle(Bytes16 a, Bytes16 b, Bytes16 c) { return larger(smaller(a, b), smaller(larger(a, b), c)); }

// The median of 3 x 3, the border repeated.
void median(const Plane& in, int width, int height, Plane& out) {
    const int wide = width + 2;
    Plane framed((height + 2) * wide + 2 * SPARE);
    for (int y = 0; y < height + 2; ++y)
        for (int x = 0; x < wide; ++x) framed[y * wide + x] = in[std::clamp(y - 1, 0, height - 1) * width + std::clamp(x - 1, 0, width - 1)];
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; x += 16) {
            Bytes16 low[3], mid[3], high[3];
            for (int k = 0; k < 3; ++k) {
                const uint8_t* p = &framed[y * wide + x + k];
                const Bytes16 a = bytes16(p), b = bytes16(p + wide), c = bytes16(p + 2 * wide);
                low[k] = smaller(smaller(a, b), c), mid[k] = middle(a, b, c), high[k] = larger(larger(a, b), c);
            }
            const Bytes16 found = middle(larger(larger(low[0], low[1]), low[2]), middle(mid[0], mid[1], mid[2]), smaller(smaller(high[0], high[1]), high[2]));
            memcpy(&out[y * width + x], &found, std::min(16, width - x));
        }
}

// Each byte becomes the largest of itself and side - 1 that follow, `step` apart.
void spread(Plane& p, int side, int step) {
    const auto widen = [&](int distance) {
        for (size_t i = 0; i + distance + SPARE <= p.size(); i += 16) {
            const Bytes16 found = larger(bytes16(&p[i]), bytes16(&p[i + distance]));
            memcpy(&p[i], &found, sizeof found);
        }
    };
    int reached = 1;
    for (; 2 * reached <= side; reached *= 2) widen(reached * step);
    if (reached < side) widen((side - reached) * step);
}

// A dilation by a square and then an erosion; beyond the border is nothing.
void close(Plane& p, int width, int height, int side) {
    const int wide = width + side - 1, reach = side / 2;
    for (int turn = 0; turn < 2; ++turn) {
        Plane framed((height + side - 1) * wide + SPARE);
        for (int y = 0; y < height; ++y) memcpy(&framed[(y + reach) * wide + reach], &p[y * width], width);
        spread(framed, side, 1), spread(framed, side, wide);
        for (int y = 0; y < height; ++y)
            for (int x = 0; x < width; ++x) p[y * width + x] = 255 - framed[y * wide + x];
    }
}

// The mean of 9 x 9, mirrored at the border.
void blur(Plane& p, int width, int height) {
    constexpr int REACH = 4, AREA = 81;  // an odd area has no ties
    const auto mirrored = [](int at, int length) { return at < 0 ? -at : at >= length ? 2 * length - 2 - at : at; };
    const Plane in = p;
    std::vector<uint16_t> sums(width + 2 * REACH);
    for (int y = 0; y < height; ++y) {
        std::fill(sums.begin(), sums.end(), 0);
        for (int v = y - REACH; v <= y + REACH; ++v) {
            const uint8_t* row = &in[mirrored(v, height) * width];
            for (int x = 0; x < width; ++x) sums[REACH + x] += row[x];
        }
        for (int x = 0; x < REACH; ++x) sums[x] = sums[2 * REACH - x], sums[width + 2 * REACH - 1 - x] = sums[width - 1 + x];
        for (int x = 0; x < width; ++x) {
            uint32_t sum = AREA / 2;
            for (int u = 0; u <= 2 * REACH; ++u) sum += sums[x + u];
            p[y * width + x] = uint8_t(sum / AREA);
        }
    }
}

}  // namespace

// RGBA pixels to how much darker than its ground each is, 0 to 1, and the ground's brightness; then the same of the negative.
// `side` of the square that no stroke fills. Pictures of at least 9 x 9.
extern "C" __attribute__((export_name("inks"))) void inks(const uint8_t* rgba, int32_t width, int32_t height, int32_t side, float* out) {
    const int size = width * height;
    Plane plane(size), calm(size), ground(size);
    memset(out, 0, size_t(size) * 4 * sizeof *out);
    for (int channel = 0; channel < 3; ++channel) {
        for (int i = 0; i < size; ++i) plane[i] = rgba[4 * i + channel];
        median(plane, width, height, calm);
        for (float* ink = out; ink < out + 4 * size; ink += 2 * size) {
            float* brightness = ink + size;
            ground = calm;
            close(ground, width, height, side), blur(ground, width, height);
            for (int i = 0; i < size; ++i) {
                ink[i] = std::max(ink[i], 1 - std::min((float(calm[i]) + 2) / (float(ground[i]) + 2), 1.0f));
                brightness[i] += float(ground[i]);
            }
            for (uint8_t& value : calm) value = 255 - value;
        }
    }
    for (float* brightness : {out + size, out + 3 * size})
        for (int i = 0; i < size; ++i) brightness[i] = brightness[i] / 3 / 255;
}
#endif
