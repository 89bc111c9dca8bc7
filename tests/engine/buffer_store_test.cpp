// Buffers: names and layout, the two copies, and what a bad step may not change; on every device.
#include "engine/buffer_store.h"

#include <gtest/gtest.h>

#include <cstring>

#include "engine/ops/norm_op.h"
#include "tests/support/device.h"
#include "tests/support/error_of.h"

namespace elbo {
namespace {

class BufferStoreTest : public DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    if (IsSkipped()) return;
    context_ = std::make_unique<Context>(DeviceChoice{device(), 0, ""});
    store_ = std::make_unique<BufferStore>(*context_, DType::f32);
    mean_ = store_->add("bn.running_mean", {3}, 0.5);
    count_ = store_->add_counter("bn.num_batches_tracked");
    store_->finalise();
    state_ = DeviceBlock(*context_, sizeof(StepState), Role::state);
    set_bad_op(0);
  }
  void TearDown() override {
    state_.reset();
    store_.reset();
    context_.reset();
    DeviceTest::TearDown();
  }

  void set_bad_op(uint32_t bad_op) {
    StepState state;
    state.bad_op = bad_op;
    context_->upload(state_.data(), &state, sizeof state);
  }
  // What an op does.
  void set_next(float mean, int64_t count) {
    const std::vector<float> values(3, mean);
    context_->upload(store_->next(mean_).data, values.data(), 3 * sizeof(float));
    context_->upload(store_->next_counter(count_), &count, sizeof count);
  }
  void commit() { store_->commit(context_->exec(), state_.as<StepState>()); }

  std::vector<float> values(const Tensor& tensor) {
    std::vector<float> values(3);
    context_->download(values.data(), tensor.data, 3 * sizeof(float));
    return values;
  }
  int64_t number(const int64_t* counter) {
    int64_t value = -1;
    context_->download(&value, counter, sizeof value);
    return value;
  }

  std::unique_ptr<Context> context_;
  std::unique_ptr<BufferStore> store_;
  BufferStore::Id mean_ = -1, count_ = -1;
  DeviceBlock state_;
};

TEST_P(BufferStoreTest, StartsBothCopiesFromTheInitialValues) {
  expect_no_launch();
  EXPECT_EQ(values(store_->value(mean_)), std::vector<float>(3, 0.5f));
  EXPECT_EQ(values(store_->next(mean_)), std::vector<float>(3, 0.5f));
  EXPECT_EQ(number(store_->counter(count_)), 0);
  EXPECT_EQ(number(store_->next_counter(count_)), 0);
  EXPECT_NE(store_->value(mean_).data, store_->next(mean_).data);
}

TEST_P(BufferStoreTest, AGoodStepIsCommitted) {
  set_next(2.0f, 7);
  EXPECT_EQ(values(store_->value(mean_)), std::vector<float>(3, 0.5f)) << "not before commit()";
  commit();
  EXPECT_EQ(values(store_->value(mean_)), std::vector<float>(3, 2.0f));
  EXPECT_EQ(number(store_->counter(count_)), 7);
}

TEST_P(BufferStoreTest, ABadStepIsNot) {
  set_next(2.0f, 7);
  set_bad_op(5);
  commit();
  EXPECT_EQ(values(store_->value(mean_)), std::vector<float>(3, 0.5f));
  EXPECT_EQ(number(store_->counter(count_)), 0);
  store_->discard();
  EXPECT_EQ(values(store_->next(mean_)), std::vector<float>(3, 0.5f));
  EXPECT_EQ(number(store_->next_counter(count_)), 0);
  set_next(3.0f, 9);
  store_->commit(context_->exec(), nullptr);  // nobody to ask
  EXPECT_EQ(number(store_->counter(count_)), 9);
}

TEST_P(BufferStoreTest, DownloadsAndUploadsEverything) {
  expect_no_launch();
  std::vector<std::byte> bytes(store_->bytes());
  store_->download(bytes.data());
  for (const BufferStore::Piece& piece : store_->pieces()) {
    if (piece.type == StoredType::f32) {
      const float values[3] = {1, 2, 3};
      ASSERT_EQ(piece.bytes, sizeof values);
      std::memcpy(bytes.data() + piece.offset, values, sizeof values);
    } else {
      const int64_t count = int64_t{1} << 40;  // more than a float counts to
      ASSERT_EQ(piece.bytes, sizeof count);
      std::memcpy(bytes.data() + piece.offset, &count, sizeof count);
    }
  }
  store_->upload(bytes.data());
  for (const Tensor& copy : {store_->value(mean_), store_->next(mean_)}) {
    EXPECT_EQ(values(copy), (std::vector<float>{1, 2, 3}));
  }
  EXPECT_EQ(number(store_->counter(count_)), int64_t{1} << 40);
  EXPECT_EQ(number(store_->next_counter(count_)), int64_t{1} << 40);
  store_->reset();
  EXPECT_EQ(number(store_->counter(count_)), 0);
}

TEST_P(BufferStoreTest, SettingABufferChangesBothCopiesOfItAlone) {
  set_next(7, 5);
  commit();
  store_->set(mean_, std::vector<double>{1, -2, 0.5});
  const std::vector<float> set = {1, -2, 0.5};
  EXPECT_EQ(values(store_->value(mean_)), set);
  EXPECT_EQ(values(store_->next(mean_)), set);
  EXPECT_EQ(number(store_->counter(count_)), 5);
  EXPECT_EQ(error_of([&] {
              store_->set(mean_, std::vector<double>{1, 2});
            }),
            "1: buffer bn.running_mean holds 3 values, not 2");
}

INSTANTIATE_TEST_SUITE_P(Devices, BufferStoreTest, testing::ValuesIn(available_devices()),
                         device_name);

TEST(BufferStoreNames, AreThoseOfPyTorch) {
  Context context;
  ParamStore params(context);
  const NormParams layer = add_batch_norm(params, "encoder.1", 4);
  params.finalise();
  params.initialise(1);
  ASSERT_EQ(params.pieces().size(), 2u);
  EXPECT_EQ(params.pieces()[0].name, "encoder.1.weight");
  EXPECT_EQ(params.pieces()[1].name, "encoder.1.bias");
  EXPECT_EQ(params.param(layer.weight).value.as<float>()[3], 1.0f);
  EXPECT_EQ(params.param(layer.bias).value.as<float>()[3], 0.0f);
  const auto& buffers = params.buffers().pieces();
  ASSERT_EQ(buffers.size(), 3u);
  EXPECT_EQ(buffers[0].name, "encoder.1.running_mean");
  EXPECT_EQ(buffers[1].name, "encoder.1.running_var");
  EXPECT_EQ(buffers[2].name, "encoder.1.num_batches_tracked");
  EXPECT_EQ(buffers[2].shape.rank(), 0);
  EXPECT_EQ(params.buffers().value(layer.running_var).as<float>()[3], 1.0f);
}

TEST(BufferStoreNames, MistakesAreErrors) {
  Context context;
  BufferStore store(context, DType::f32);
  EXPECT_TRUE(store.empty());
  const BufferStore::Id mean = store.add("mean", {2}, 0);
  EXPECT_EQ(error_of([&] { store.add_counter("mean"); }), "1: two buffers are called mean");
  EXPECT_EQ(error_of([&] { store.reset(); }), "1: reset() needs finalise() first");
  EXPECT_EQ(error_of([&] { store.next(mean); }), "1: no buffer 0");
  const BufferStore::Id count = store.add_counter("count");
  store.finalise();
  EXPECT_EQ(error_of([&] { store.add("late", {2}, 0); }),
            "1: buffer late is added after finalise()");
  EXPECT_EQ(error_of([&] { store.finalise(); }), "1: finalise() is called twice");
  EXPECT_EQ(error_of([&] { store.next(count); }), "1: buffer count holds I64");
  EXPECT_EQ(error_of([&] { store.next_counter(mean); }), "1: buffer mean holds F32");
  EXPECT_EQ(error_of([&] { store.value(2); }), "1: no buffer 2");
  EXPECT_EQ(error_of([&] { store.value(-1); }), "1: no buffer -1");
}

}  // namespace
}  // namespace elbo
