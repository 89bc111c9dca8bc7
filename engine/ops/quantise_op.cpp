#include "engine/ops/quantise_op.h"

#include "engine/ops/op_support.h"
#include "kernels/vector_quantise.h"

namespace elbo {
namespace {

// The buffers that a call works on.
struct Buffers {
  Tensor codes, sums, counts;
  int64_t* batches = nullptr;
};

Buffers buffers_of(const BufferStore& store, const Codebook& codebook, bool learning) {
  if (!learning) return {store.value(codebook.codes), {}, {}, nullptr};
  return {store.next(codebook.codes), store.next(codebook.sums), store.next(codebook.counts),
          store.next_counter(codebook.batches)};
}

struct LearningCall {
  Tensor x, index, members, total, perplexity;
  Buffers buffers;
  CodebookLearning rule;
  int64_t rows;
};

template <class T>
LearnCodes<T> arguments(const LearningCall& call, const Codebook& codebook) {
  LearnCodes<T> args;
  args.rows = call.rows;
  args.dim = codebook.dim;
  args.size = codebook.size;
  args.x = call.x.as<T>();
  args.index = call.index.as<int32_t>();
  args.codes = call.buffers.codes.as<T>();
  args.sums = call.buffers.sums.as<T>();
  args.counts = call.buffers.counts.as<T>();
  args.batches = call.buffers.batches;
  args.members = call.members.as<T>();
  args.total = call.total.as<T>();
  args.perplexity = call.perplexity.as<T>();
  args.decay = static_cast<T>(call.rule.decay);
  args.restart = static_cast<T>(call.rule.restart);
  args.noise = call.rule.noise;
  args.noise.purpose = NoisePurpose::codes;
  return args;
}

void begin(Tape& tape, const LearningCall& call, const Codebook& codebook) {
  const Buffers& b = call.buffers;
  tape.op("begin_codes", {call.x, b.counts}, {b.codes, b.sums, b.counts}, [&](const Exec& exec) {
    with_element_type("begin_codes", call.x,
                      [&]<class T>(T) { begin_codes(exec, arguments<T>(call, codebook)); });
  });
}

void learn(Tape& tape, const LearningCall& call, const Codebook& codebook) {
  const Buffers& b = call.buffers;
  tape.op("learn_codes", {call.x, call.index, b.sums, b.counts},
          {b.codes, b.sums, b.counts, call.members, call.total, call.perplexity},
          [&](const Exec& exec) {
            with_element_type("learn_codes", call.x,
                              [&]<class T>(T) { learn_codes(exec, arguments<T>(call, codebook)); });
          });
}

void record_backward(Tape& tape, const Tensor& x, const QuantisedCode& code,
                     const Codebook& codebook) {
  tape.record(
      "quantise", {x}, [x, q = code.q, squares = code.squares, dim = codebook.dim](Tape& t) {
        const std::optional<Tensor> dq = t.upstream(q), dsquares = t.upstream(squares);
        const GradSlot slot = dq || dsquares ? t.grad_slot(x) : GradSlot{};
        if (!slot) return;
        const Tensor of_q = dq ? *dq : Tensor{}, of_squares = dsquares ? *dsquares : Tensor{};
        t.op("quantise_backward", {x, q, of_q, of_squares, slot.dx}, {slot.dx},
             [&](const Exec& exec) {
               with_element_type("quantise", x, [&]<class T>(T) {
                 NearestCodesBackward<T> args;
                 args.rows = x.size() / dim;
                 args.dim = dim;
                 args.x = x.as<T>();
                 args.q = q.as<T>();
                 args.dq = dq ? of_q.as<T>() : nullptr;
                 args.dsquares = dsquares ? of_squares.as<T>() : nullptr;
                 args.dx = slot.dx.as<T>();
                 args.mode = slot.mode;
                 nearest_codes_backward(exec, args);
               });
             });
      });
}

}  // namespace

Codebook add_codebook(ParamStore& params, const std::string& name, int64_t size, int64_t dim) {
  BufferStore& buffers = params.buffers();
  Codebook codebook;
  codebook.codes = buffers.add(name + ".codes", {dim, size}, 0.0);
  codebook.sums = buffers.add(name + ".sums", {dim, size}, 0.0);
  codebook.counts = buffers.add(name + ".counts", {size}, 0.0);
  codebook.batches = buffers.add_counter(name + ".batches");
  codebook.size = size;
  codebook.dim = dim;
  return codebook;
}

QuantisedCode quantise(Tape& tape, const ParamStore& params, const Tensor& x,
                       const Codebook& codebook, const CodebookLearning* learning) {
  ELBO_CHECK(codebook.dim > 0 && x.size() % codebook.dim == 0, "quantise: x is ",
             x.shape.to_string(), ", whose values are not rows of ", codebook.dim);
  const int64_t rows = x.size() / codebook.dim;
  const Buffers buffers = buffers_of(params.buffers(), codebook, learning != nullptr);
  QuantisedCode code;
  code.index = tape.new_buffer({rows}, DType::i32);
  code.q = tape.new_value(x.shape, x.dtype);
  code.squares = tape.new_value({rows}, x.dtype);
  LearningCall call{x, code.index, {}, {}, {}, buffers, {}, rows};
  if (learning) {
    call.rule = *learning;
    call.members = tape.new_buffer({codebook.size}, x.dtype);
    call.total = tape.new_buffer({1}, x.dtype);
    call.perplexity = code.perplexity = tape.new_buffer({1}, x.dtype);
    begin(tape, call, codebook);
  }
  tape.op("quantise", {x, buffers.codes}, {code.q, code.squares, code.index},
          [&](const Exec& exec) {
            with_element_type("quantise", x, [&]<class T>(T) {
              NearestCodes<T> args;
              args.rows = rows;
              args.dim = codebook.dim;
              args.size = codebook.size;
              args.x = x.as<T>();
              args.codes = buffers.codes.as<T>();
              args.index = code.index.as<int32_t>();
              args.q = code.q.as<T>();
              args.squares = code.squares.as<T>();
              nearest_codes(exec, args);
            });
          });
  record_backward(tape, x, code, codebook);
  if (learning) learn(tape, call, codebook);
  return code;
}

}  // namespace elbo
