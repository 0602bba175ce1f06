// The searches of golfpipe/quant/code_search.py and trellis_search.py, some rows at a time. Every sum and product is
// rounded by itself and in the same order as there (no contraction to fused operations), so that the codes are the same
// on every machine, with and without this file.
//
// Shapes: R rows, C columns in quantization order, K classes, L lanes (rows side by side in vectors).

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

namespace {

constexpr int kLanes = 16;
typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef int16_t Codes __attribute__((vector_size(2 * kLanes)));

constexpr int64_t kBlock = COMMIT;          // columns that a window decides, whose corrections later ones get at once
constexpr int64_t kLookAhead = LOOK_AHEAD;  // columns beyond them that it looks at
constexpr float kInfinity = std::numeric_limits<float>::infinity();

}  // namespace

struct Search {                 // golfpipe/machine/code_search.py has the same fields
  const float* weights;         // [R, C], columns as they lie
  const int64_t* order;         // [C] columns in quantization order
  const float* row_step;        // [R]
  const float* column_step;     // [C]
  const float* correction;      // [C, C], null without error feedback
  const uint8_t* row_class;     // [R]
  const uint8_t* column_class;  // [C]
  const float* inverse_scale;   // [K] by the sum of both classes
  int16_t* codes;               // [R, C], columns as they lie
  int64_t rows, columns, classes;
  int64_t states;               // 1: scalar codes
  int64_t quarters;             // of the exponent of the rate model; 0: no price on bits
  float price, least, most;
};

namespace {

// Nearest whole number, halves to even: exact up to 2^22, beyond which every code is clamped.
inline Floats rounded(Floats x) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23
  return (x + kMagic) - kMagic;
}

inline Floats magnitude(Floats x) { return x < 0 ? -x : x; }

inline Floats clamped(Floats x, float least, float most) {
  x = x < least ? Floats{} + least : x;
  return x > most ? Floats{} + most : x;
}

inline Floats root(Floats x) {
  Floats y;
  for (int l = 0; l < kLanes; ++l) y[l] = __builtin_sqrtf(x[l]);
  return y;
}

inline Floats power(Floats x, int64_t quarters) {
  if (quarters == 8) return x * x;
  Floats y = quarters & 4 ? x : Floats{} + 1.0f;
  if (quarters & 3) {
    const Floats half = root(x);
    if (quarters & 2) y = y * half;
    if (quarters & 1) y = y * root(half);
  }
  return y;
}

constexpr int parity(int state) { return (state ^ (state >> 1) ^ (state >> 2)) & 1; }

struct Choice {
  Floats code, point, cost;
};

// Rows side by side: their weights, what belongs to them, and what the search remembers.
struct Tile {
  const Search& search;
  std::vector<Floats> weights, points, scales, targets;  // [C], [C], [K], [window, states]
  std::vector<Codes> chosen;                             // [window, states]
  Floats row_step;
  int64_t row[kLanes];

  explicit Tile(const Search& given)
      : search(given), weights(given.columns), points(given.columns), scales(256) {
    if (search.states > 1) {
      const int64_t window = search.correction ? std::min(search.columns, kBlock + kLookAhead) : search.columns;
      chosen.resize(window * search.states);
      if (search.correction) targets.resize(window * search.states);
    }
  }

  void load(int64_t first) {
    for (int l = 0; l < kLanes; ++l) {
      row[l] = std::min(first + l, search.rows - 1);  // lanes beyond the last row repeat it
      row_step[l] = search.row_step[row[l]];
      const float* from = search.weights + row[l] * search.columns;
      for (int64_t c = 0; c < search.columns; ++c) weights[c][l] = from[search.order[c]];
      if (search.quarters) {
        for (int64_t k = 0; k < 256 && search.row_class[row[l]] + k < search.classes; ++k) {
          scales[k][l] = search.inverse_scale[search.row_class[row[l]] + k];
        }
      }
    }
  }

  Floats step(int64_t column) const { return row_step * search.column_step[column]; }

  Floats scale(int64_t column) const { return search.quarters ? scales[search.column_class[column]] : Floats{}; }

  Floats bits(Floats point, Floats scale) const { return power(magnitude(point) * scale, search.quarters); }

  void store(int64_t column, int lane, int16_t code) {
    search.codes[row[lane] * search.columns + search.order[column]] = code;
  }

  // Take the errors of the columns first..last-1, in order, off N columns from c on.
  template <int N>
  void correct(int64_t first, int64_t last, const Floats* error, int64_t c) {
    Floats sum[N];
    std::copy_n(&weights[c], N, sum);
    for (int64_t i = first; i < last; ++i) {
      const float* row = search.correction + i * search.columns + c;
      for (int j = 0; j < N; ++j) sum[j] = sum[j] - error[i - first] * row[j];
    }
    std::copy_n(sum, N, &weights[c]);
  }

  void correct_later(int64_t first, int64_t last, const Floats* error, int64_t end) {
    int64_t c = last;
    for (; c + 8 <= end; c += 8) correct<8>(first, last, error, c);
    for (; c < end; ++c) correct<1>(first, last, error, c);
  }

  void scalar() {
    Floats error[kBlock];
    for (int64_t start = 0; start < search.columns; start += kBlock) {
      const int64_t end = std::min(start + kBlock, search.columns);
      for (int64_t c = start; c < end; ++c) {
        const Floats width = step(c), x = weights[c] / width;
        Floats code = rounded(x);
        if (search.quarters) {
          const Floats one = code > 0 ? Floats{} + 1.0f : code < 0 ? Floats{} - 1.0f : Floats{};
          const Floats lower = code - one, cost = scale(c);
          const Floats below = x - lower, above = x - code;
          const Floats saved = bits(code, cost) - bits(lower, cost);
          code = below * below - above * above < search.price * saved ? lower : code;
        }
        code = clamped(code, search.least, search.most);
        for (int l = 0; l < kLanes; ++l) store(c, l, static_cast<int16_t>(code[l]));
        if (search.correction) {
          error[c - start] = weights[c] - code * width;
          correct_later(c, c + 1, &error[c - start], end);
        }
      }
      if (search.correction) correct_later(start, end, error, search.columns);
    }
  }

  // The best code of one parity for a state that reads codes with one sign; cost without that of the way to the state.
  Choice best(Floats aim, int odd, Floats scale) const {
    const float shift = 2.0f * odd;
    Choice found;
    found.code = clamped(rounded((aim - 0.5f - shift) / 4.0f), -MOST_PAIR, MOST_PAIR) * 2.0f + static_cast<float>(odd);
    found.point = 2.0f * found.code + 0.5f;
    Floats off = found.point - aim;
    found.cost = off * off;
    if (search.quarters) {
      const Floats other = found.point > 0 ? found.point - 4.0f : found.point + 4.0f;
      off = other - aim;
      const Floats other_cost = off * off + search.price * bits(other, scale);
      found.cost = found.cost + search.price * bits(found.point, scale);
      const auto nearer = other_cost < found.cost;
      found.point = nearer ? other : found.point;
      found.cost = nearer ? other_cost : found.cost;
      found.code = (found.point - 0.5f) / 2.0f;
    }
    return found;
  }

  template <int S>
  void trellis() {
    Floats error[kBlock];
    uint8_t state[kLanes] = {};
    const int64_t commit = search.correction ? kBlock : search.columns;
    for (int64_t start = 0; start < search.columns; start += commit) {
      const int64_t end = std::min(start + commit, search.columns);
      const int64_t ahead = search.correction ? std::min(end + kLookAhead, search.columns) : end;
      window<S>(start, end, ahead, state);
      if (!search.correction) continue;
      for (int64_t c = start; c < end; ++c) {
        error[c - start] = weights[c] - points[c] * step(c);
        correct_later(c, c + 1, &error[c - start], end);
      }
      correct_later(start, end, error, search.columns);
    }
  }

  // Choose the codes of the columns start..end-1, and go on to the states after them.
  template <int S>
  void window(int64_t start, int64_t end, int64_t ahead, uint8_t* state) {
    Floats metric[S];
    for (int s = 0; s < S; ++s) {
      for (int l = 0; l < kLanes; ++l) metric[s][l] = state[l] == s ? 0.0f : kInfinity;
    }
    if (search.correction) {
      for (int64_t c = start; c < ahead; ++c) std::fill_n(&targets[(c - start) * S], S, weights[c]);
    }
    for (int64_t c = start; c < ahead; ++c) step_on<S>(start, c, ahead, metric);
    trace_back<S>(start, end, ahead, metric, state);
  }

  template <int S>
  void step_on(int64_t start, int64_t column, int64_t ahead, Floats* metric) {
    constexpr int H = S / 2;
    const Floats width = step(column), cost = scale(column);
    const Floats* target = search.correction ? &targets[(column - start) * S] : nullptr;
    Choice shared[2][2];  // without feedback all states aim at the same weight: only sign and parity differ
    if (!target) {
      const Floats x = weights[column] / width;
      for (int odd = 0; odd < 2; ++odd) {
        shared[0][odd] = best(x, odd, cost);
        shared[1][odd] = best(-x, odd, cost);
      }
    }
    Floats next[S], errors[S];
    decltype(metric[0] < metric[0]) takes[S];
    for (int m = 0; m < H; ++m) {
      for (int b = 0; b < 2; ++b) {
        Floats total[2], code[2], error[2];
        for (int j = 0; j < 2; ++j) {
          const int from = m + j * H, odd = parity(from) ^ b;
          Choice found;
          if (target) {
            const Floats x = target[from] / width;
            found = best(from & 1 ? -x : x, odd, cost);
            error[j] = target[from] - (from & 1 ? -found.point : found.point) * width;
          } else {
            found = shared[from & 1][odd];
          }
          total[j] = found.cost + metric[from];
          code[j] = found.code;
        }
        const int to = 2 * m + b;
        takes[to] = total[1] < total[0];
        next[to] = takes[to] ? total[1] : total[0];
        chosen[(column - start) * S + to] = __builtin_convertvector(takes[to] ? code[1] : code[0], Codes);
        if (target) errors[to] = takes[to] ? error[1] : error[0];
      }
    }
    std::copy_n(next, S, metric);
    if (!target) return;
    const float* row = search.correction + column * search.columns;
    for (int64_t c = column + 1; c < ahead; ++c) {
      Floats* at = &targets[(c - start) * S];
      Floats moved[S];
      for (int s = 0; s < S; ++s) moved[s] = (takes[s] ? at[s / 2 + H] : at[s / 2]) - errors[s] * row[c];
      std::copy_n(moved, S, at);
    }
  }

  template <int S>
  void trace_back(int64_t start, int64_t end, int64_t ahead, const Floats* metric, uint8_t* state) {
    uint8_t at[kLanes];
    for (int l = 0; l < kLanes; ++l) {
      at[l] = 0;
      for (int s = 1; s < S; ++s) {
        if (metric[s][l] < metric[at[l]][l]) at[l] = s;
      }
    }
    for (int64_t c = ahead - 1; c >= start; --c) {
      if (c == end - 1) std::copy_n(at, kLanes, state);
      for (int l = 0; l < kLanes; ++l) {
        const int16_t code = chosen[(c - start) * S + at[l]][l];
        // The branch's parity and that of the code tell from which of two states it came.
        const int below = at[l] >> 1, upper = (code & 1) ^ (at[l] & 1) ^ parity(below);
        at[l] = below + upper * (S / 2);
        if (c < end) {
          store(c, l, code);
          points[c][l] = (2.0f * code + 0.5f) * (at[l] & 1 ? -1.0f : 1.0f);
        }
      }
    }
  }
};

}  // namespace

extern "C" void search_codes(const Search* search) {
  Tile tile(*search);
  for (int64_t row = 0; row < search->rows; row += kLanes) {
    tile.load(row);
    switch (search->states) {
      case 1: tile.scalar(); break;
      case 4: tile.trellis<4>(); break;
      default: tile.trellis<8>();
    }
  }
}
