// Gradients of causal grouped-query attention in bf16, one block of queries at a time (Dao 2023, arXiv 2307.08691): with
// P = exp(scale Q K^T - L), L the log of each row's sum as the forward pass left it,
//   dV = P^T dY,  dS = scale P * (dY V^T - D),  D the row sums of dY * Y,  dQ = dS K,  dK = dS^T Q.
// Scores are held with keys as rows: then P^T and dS^T are left factors as they lie, and no sum needs a transposed copy of
// them. Products are libtorch's brgemm, fp32 sums of bf16 factors.
//
// Shapes: B batch, H query heads, K key heads, T time, E head width.

#include <ATen/Parallel.h>
#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>
#include <ATen/native/CPUBlas.h>

#include <algorithm>
#include <exception>
#include <limits>
#include <string>
#include <vector>

namespace {

using at::BFloat16;
using at::native::cpublas::brgemm;
using at::vec::convert_from_float;
using at::vec::transpose_mxn;
using Floats = at::vec::Vectorized<float>;
using Halves = at::vec::Vectorized<BFloat16>;

constexpr int64_t kFloats = Floats::size();
constexpr int64_t kHalves = Halves::size();  // two vectors of floats
constexpr int64_t kQueries = QUERIES;        // of a block; T is a multiple. attention_backward.py defines it
constexpr int64_t kKeys = 256;               // at a time: what belongs to them stays in the cache
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// One of the tensors [B, H or K, T, E], the last stride 1.
struct Heads {
  BFloat16* data;
  int64_t batch_stride, head_stride, stride;

  BFloat16* at(int64_t b, int64_t h, int64_t t = 0) const {
    return data + b * batch_stride + h * head_stride + t * stride;
  }
};

Heads heads(BFloat16* data, const int64_t* strides) {
  return {data, strides[0], strides[1], strides[2]};
}

// A right factor lies as brgemm wants it: the values of rows 2i and 2i + 1 side by side. Here of x [rows, columns].
void pair_rows(const BFloat16* x, int64_t stride, int64_t rows, int64_t columns, BFloat16* paired) {
  for (int64_t row = 0; row < rows; row += 2) {
    const auto* upper = reinterpret_cast<const uint16_t*>(x + row * stride);
    const auto* lower = upper + stride;
    auto* out = reinterpret_cast<uint32_t*>(paired + row * columns);
    for (int64_t column = 0; column < columns; ++column) {
      out[column] = static_cast<uint32_t>(upper[column]) | static_cast<uint32_t>(lower[column]) << 16;
    }
  }
}

// The same of x^T: pairs are neighbors in x, so whole words change places.
void pair_rows_of_transpose(const BFloat16* x, int64_t stride, int64_t rows, int64_t columns, BFloat16* paired) {
  transpose_mxn<float>(
      reinterpret_cast<const float*>(x), stride / 2, reinterpret_cast<float*>(paired), rows, rows, columns / 2);
}

void round_row(const float* x, int64_t count, BFloat16* out) {
  for (int64_t i = 0; i < count; i += kHalves) {
    convert_from_float<BFloat16>(Floats::loadu(x + i), Floats::loadu(x + i + kFloats)).store(out + i);
  }
}

float dot(const BFloat16* x, const BFloat16* y, int64_t count) {
  Floats sum(0.f);
  for (int64_t i = 0; i < count; i += kHalves) {
    auto [x0, x1] = at::vec::convert_to_float<BFloat16>(Halves::loadu(x + i));
    auto [y0, y1] = at::vec::convert_to_float<BFloat16>(Halves::loadu(y + i));
    sum = at::vec::fmadd(x0, y0, at::vec::fmadd(x1, y1, sum));
  }
  return at::vec::vec_reduce_all<float>([](Floats& a, Floats& b) { return a + b; }, sum);
}

// scores and grads [keys, kQueries] in fp32 -> P^T and dS^T in bf16.
void softmax_backward(
    const float* scores, const float* grads, const float* log_sums, const float* row_dots, float scale, int64_t keys,
    BFloat16* p, BFloat16* ds) {
  const Floats by(scale);
  for (int64_t query = 0; query < kQueries; query += kHalves) {
    const Floats log0 = Floats::loadu(log_sums + query), log1 = Floats::loadu(log_sums + query + kFloats);
    const Floats dot0 = Floats::loadu(row_dots + query), dot1 = Floats::loadu(row_dots + query + kFloats);
    for (int64_t key = 0; key < keys; ++key) {
      const int64_t place = key * kQueries + query;
      const Floats p0 = at::vec::fmsub(Floats::loadu(scores + place), by, log0).exp_u20();
      const Floats p1 = at::vec::fmsub(Floats::loadu(scores + place + kFloats), by, log1).exp_u20();
      const Floats ds0 = p0 * (Floats::loadu(grads + place) - dot0) * by;
      const Floats ds1 = p1 * (Floats::loadu(grads + place + kFloats) - dot1) * by;
      convert_from_float<BFloat16>(p0, p1).store(p + place);
      convert_from_float<BFloat16>(ds0, ds1).store(ds + place);
    }
  }
}

// What went wrong in `work`, or null: nothing may be thrown through a caller that is not C++.
template <typename Work>
const char* error_of(const Work& work) {
  static thread_local std::string message;
  try {
    work();
    return nullptr;
  } catch (const std::exception& error) {
    message = error.what();
  } catch (...) {
    message = "unknown";
  }
  return message.c_str();
}

}  // namespace

// An error's message, or null. T is a multiple of kQueries, E of 32; `strides` are the batch, head and time strides of dy, q,
// k, v, y, dq, dk, dv, one after the other, those of time even and at least E. log_sums: L [B, H, T].
extern "C" const char* attention_backward(
    BFloat16* dy_, BFloat16* q_, BFloat16* k_, BFloat16* v_, BFloat16* y_, BFloat16* dq_, BFloat16* dk_, BFloat16* dv_,
    const int64_t* strides, const float* log_sums, int64_t B, int64_t H, int64_t K, int64_t T, int64_t E, float scale) {
  const Heads dy = heads(dy_, strides), q = heads(q_, strides + 3), k = heads(k_, strides + 6);
  const Heads v = heads(v_, strides + 9), y = heads(y_, strides + 12);
  const Heads dq = heads(dq_, strides + 15), dk = heads(dk_, strides + 18), dv = heads(dv_, strides + 21);

  // One task for each key head: the gradients of its keys and values are summed in one place, in one order.
  const auto differentiate = [&](int64_t first, int64_t last) {
    std::vector<BFloat16> k_transposed(E * T), p(kKeys * kQueries), ds(kKeys * kQueries), ds_paired(kKeys * kQueries);
    std::vector<BFloat16> q_rows(kQueries * E), q_columns(E * kQueries), dy_rows(kQueries * E), dy_columns(E * kQueries);
    std::vector<float> scores(kKeys * kQueries), grads(kKeys * kQueries), row_dots(kQueries);
    std::vector<float> dq_transposed(E * kQueries), dq_sum(kQueries * E), dk_sum(T * E), dv_sum(T * E);
    for (int64_t task = first; task < last; ++task) {
      const int64_t b = task / K, kv = task % K;
      for (int64_t t = 0; t < T; t += 32) {
        for (int64_t e = 0; e < E; e += 32) {
          transpose_mxn<BFloat16>(k.at(b, kv, t) + e, k.stride, k_transposed.data() + e * T + t, T, 32, 32);
        }
      }
      std::fill(dk_sum.begin(), dk_sum.end(), 0.f);
      std::fill(dv_sum.begin(), dv_sum.end(), 0.f);
      for (int64_t h = kv * (H / K); h < (kv + 1) * (H / K); ++h) {
        for (int64_t query = 0; query < T; query += kQueries) {
          pair_rows(q.at(b, h, query), q.stride, kQueries, E, q_rows.data());
          pair_rows(dy.at(b, h, query), dy.stride, kQueries, E, dy_rows.data());
          pair_rows_of_transpose(q.at(b, h, query), q.stride, kQueries, E, q_columns.data());
          pair_rows_of_transpose(dy.at(b, h, query), dy.stride, kQueries, E, dy_columns.data());
          for (int64_t i = 0; i < kQueries; ++i) {
            row_dots[i] = dot(dy.at(b, h, query + i), y.at(b, h, query + i), E);
          }
          for (int64_t key = 0; key < query + kQueries; key += kKeys) {
            const int64_t keys = std::min(kKeys, query + kQueries - key);
            brgemm(keys, kQueries, E, k.stride, kQueries, kQueries, false, k.at(b, kv, key), q_columns.data(), scores.data());
            brgemm(keys, kQueries, E, v.stride, kQueries, kQueries, false, v.at(b, kv, key), dy_columns.data(), grads.data());
            for (int64_t i = std::max<int64_t>(0, query + 1 - key); i < keys; ++i) {  // queries before their key
              std::fill_n(scores.data() + i * kQueries, key + i - query, -kInfinity);
            }
            softmax_backward(
                scores.data(), grads.data(), log_sums + (b * H + h) * T + query, row_dots.data(), scale, keys, p.data(),
                ds.data());
            pair_rows(ds.data(), kQueries, keys, kQueries, ds_paired.data());
            brgemm(keys, E, kQueries, kQueries, E, E, true, p.data(), dy_rows.data(), dv_sum.data() + key * E);
            brgemm(keys, E, kQueries, kQueries, E, E, true, ds.data(), q_rows.data(), dk_sum.data() + key * E);
            brgemm(
                E, kQueries, keys, T, kQueries, kQueries, key > 0, k_transposed.data() + key, ds_paired.data(),
                dq_transposed.data());
          }
          transpose_mxn<float>(dq_transposed.data(), kQueries, dq_sum.data(), E, E, kQueries);
          for (int64_t i = 0; i < kQueries; ++i) {
            round_row(dq_sum.data() + i * E, E, dq.at(b, h, query + i));
          }
        }
      }
      for (int64_t t = 0; t < T; ++t) {
        round_row(dk_sum.data() + t * E, E, dk.at(b, kv, t));
        round_row(dv_sum.data() + t * E, E, dv.at(b, kv, t));
      }
    }
    at::native::cpublas::brgemm_release();  // gives the tiles back
  };
  return error_of([&] { at::parallel_for(0, B * K, 1, differentiate); });
}
