#include "tests/support/fake_device.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/Resize.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/core/impl/alloc_cpu.h>
#include <torch/library.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace weft::testing {
namespace {

constexpr c10::DeviceType kFake = c10::DeviceType::PrivateUse1;

int device_count = 0;
thread_local c10::DeviceIndex current_index = 0;

/// Return `device` or, if it has no index, the current one. Refuses one that is not there.
c10::Device WithIndex(c10::Device device) {
  if (device.type() != kFake) return device;
  TORCH_CHECK(device.index() < device_count, "there is no device ", device, ", only ",
              device_count);
  return device.has_index() ? device : c10::Device(kFake, current_index);
}

// Memory. A fake storage owns a storage of the CPU, its host storage, by its data's context. Its
// own data is at an address that no program may touch: what reads it by mistake ends as on CUDA.

void* OtherAddress(const void* address) {
  constexpr uintptr_t kNotTheHosts = uintptr_t{1} << 63;
  return address == nullptr
             ? nullptr
             : reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(address) ^ kNotTheHosts);
}

void ReleaseHost(void* host) {
  c10::raw::intrusive_ptr::decref(static_cast<c10::StorageImpl*>(host));
}

c10::DataPtr DeviceMemory(const c10::Storage& host, c10::Device device) {
  c10::StorageImpl* impl = host.unsafeGetStorageImpl();
  c10::raw::intrusive_ptr::incref(impl);
  return {OtherAddress(impl->data()), impl, &ReleaseHost, device};
}

c10::Storage HostStorage(const c10::Storage& fake) {
  TORCH_CHECK(fake.data_ptr().get_deleter() == &ReleaseHost, "this memory of ", fake.device(),
              " is not the fake device's own");
  return c10::Storage(c10::intrusive_ptr<c10::StorageImpl>::reclaim_copy(
      static_cast<c10::StorageImpl*>(fake.data_ptr().get_context())));
}

/// Follow a host storage that was resized.
void FollowHost(const c10::Storage& fake) {
  const c10::Storage host = HostStorage(fake);
  if (fake.nbytes() == host.nbytes() && fake.data() == OtherAddress(host.data())) return;
  fake.unsafeGetStorageImpl()->set_data_ptr_noswap(DeviceMemory(host, fake.device()));
  fake.unsafeGetStorageImpl()->set_nbytes(host.nbytes());
}

class FakeAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    return DeviceMemory(c10::Storage(c10::Storage::use_byte_size_t(), bytes, c10::GetCPUAllocator(),
                                     /*resizable=*/true),
                        WithIndex(kFake));
  }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    std::memcpy(OtherAddress(to), OtherAddress(from), bytes);
  }
};

FakeAllocator* Memory() {
  static auto* const kAllocator = new FakeAllocator;
  return kAllocator;
}

/// Ordinary memory that remembers to be called pinned.
class PinnedAllocator final : public c10::Allocator {
 public:
  static PinnedAllocator& Get() {
    static auto* const kAllocator = new PinnedAllocator;
    return *kAllocator;
  }
  c10::DataPtr allocate(size_t bytes) override {
    void* data = c10::alloc_cpu(bytes);
    const std::lock_guard lock(mutex_);
    pinned_.insert(data);
    return {data, data, &Free, c10::DeviceType::CPU};
  }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
  bool Has(const void* data) {
    const std::lock_guard lock(mutex_);
    return data != nullptr && pinned_.contains(data);
  }

 private:
  static void Free(void* data) {
    {
      const std::lock_guard lock(Get().mutex_);
      Get().pinned_.erase(data);
    }
    c10::free_cpu(data);
  }
  std::mutex mutex_;
  std::set<const void*> pinned_;
};

/// A generator of a fake device, which a kernel of the CPU is given as the one it holds.
class FakeGenerator final : public c10::GeneratorImpl {
 public:
  FakeGenerator(c10::Device device, at::Generator host)
      : GeneratorImpl(device, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1)),
        host_(std::move(host)) {}

  const at::Generator& host() const { return host_; }
  void set_current_seed(uint64_t seed) override { host_.set_current_seed(seed); }
  uint64_t current_seed() const override { return host_.current_seed(); }
  uint64_t seed() override { return host_.seed(); }
  void set_offset(uint64_t offset) override { host_.set_offset(offset); }
  uint64_t get_offset() const override { return host_.get_offset(); }
  void set_state(const c10::TensorImpl& state) override {
    host_.unsafeGetGeneratorImpl()->set_state(state);
  }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override {
    return host_.unsafeGetGeneratorImpl()->get_state();
  }

 private:
  FakeGenerator* clone_impl() const override { return new FakeGenerator(device_, host_.clone()); }

  at::Generator host_;
};

at::Generator NewGenerator(c10::Device device) {
  return at::make_generator<FakeGenerator>(device, at::detail::createCPUGenerator());
}

// Operators.

/// Return a tensor of the CPU with the memory of `fake`.
at::Tensor HostTensor(const at::Tensor& fake, c10::Storage storage) {
  at::Tensor host = at::detail::make_tensor<c10::TensorImpl>(
      std::move(storage), c10::DispatchKeySet(c10::DispatchKey::CPU), fake.dtype());
  c10::TensorImpl* impl = host.unsafeGetTensorImpl();
  impl->set_sizes_and_strides(fake.sizes(), fake.strides(), fake.storage_offset());
  if (fake.unsafeGetTensorImpl()->is_wrapped_number()) impl->set_wrapped_number(true);
  impl->_set_conj(fake.is_conj());
  impl->_set_neg(fake.is_neg());
  return host;
}

/// One call of an operator: its arguments as the CPU's kernel is to see them, and its results as
/// those of the device. Tensors and storages are paired for that, so that a result that is an
/// argument, or a view of one, is so on the device too.
class HostCall {
 public:
  HostCall(const c10::OperatorHandle& op, c10::Stack& stack) : op_(op), stack_(stack) {}

  void Run() {
    const auto& arguments = op_.schema().arguments();
    const size_t count = arguments.size();
    FindDevice(count);
    for (size_t i = 0; i < count; ++i) {
      c10::IValue& value = torch::jit::peek(stack_, i, count);
      CheckDevices(value, arguments[i]);
      value = ToHost(value);
    }
    op_.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), &stack_);
    for (const auto& [host, fake] : storages_) FollowHost(fake);
    for (const auto& [host, fake] : tensors_) FollowShape(fake, host);
    const size_t results = op_.schema().returns().size();
    for (size_t i = 0; i < results; ++i) {
      c10::IValue& value = torch::jit::peek(stack_, i, results);
      value = FromHost(value);
    }
  }

 private:
  /// Call `meet(tensor, is_index)` for the tensors of an argument.
  template <typename Meet>
  static void ForEachTensor(const c10::IValue& value, const Meet& meet) {
    if (value.isTensor()) meet(value.toTensor(), false);
    if (value.isTensorList()) {
      for (const at::Tensor& tensor : value.toTensorVector()) meet(tensor, false);
    }
    if (value.isOptionalTensorList()) {
      for (const std::optional<at::Tensor>& tensor : value.toOptionalTensorVector()) {
        if (tensor) meet(*tensor, true);
      }
    }
  }

  /// The results' device: the `device` argument, or else that of the first fake tensor. Indices say
  /// least, as they may be of the host.
  void FindDevice(size_t count) {
    std::optional<c10::Device> named;
    std::optional<c10::Device> of_tensors;
    std::optional<c10::Device> of_indices;
    for (const c10::IValue& value : torch::jit::last(stack_, count)) {
      if (value.isDevice()) named = WithIndex(value.toDevice());
      ForEachTensor(value, [&](const at::Tensor& tensor, bool is_index) {
        std::optional<c10::Device>& device = is_index ? of_indices : of_tensors;
        if (!device && tensor.defined() && !tensor.is_cpu()) device = tensor.device();
      });
    }
    device_ = named ? named : of_tensors ? of_tensors : of_indices;
  }

  /// CUDA takes two things from the host: numbers, beside the tensors of pointwise operators and of
  /// some that have no tag to say that they are, and indices.
  void CheckDevices(const c10::IValue& value, const c10::Argument& argument) const {
    const std::string& name = op_.operator_name().name;
    const bool written = argument.alias_info() != nullptr && argument.alias_info()->isWrite();
    const bool takes_number =
        !written && (op_.hasTag(at::Tag::pointwise) || name == "aten::fill_" ||
                     name == "aten::masked_fill_" || name == "aten::_index_put_impl_");
    ForEachTensor(value, [&](const at::Tensor& tensor, bool is_index) {
      if (!tensor.defined() || tensor.device() == device_) return;
      if (tensor.is_cpu() && (is_index || (takes_number && tensor.dim() == 0))) return;
      TORCH_CHECK(false, "Expected all tensors to be on the same device, but found at least two ",
                  "devices, ", *device_, " and ", tensor.device(),
                  "! (when checking argument for argument ", argument.name(), " in method ",
                  op_.operator_name(), ")");
    });
  }

  c10::Storage ToHost(const c10::Storage& fake) {
    if (fake.device_type() != kFake) return fake;
    const c10::Storage host = HostStorage(fake);
    for (const auto& [known, paired] : storages_) {
      if (known.unsafeGetStorageImpl() == host.unsafeGetStorageImpl()) return host;
    }
    storages_.emplace_back(host, fake);
    return host;
  }

  at::Tensor ToHost(const at::Tensor& fake) {
    if (!fake.defined() || fake.device().type() != kFake) return fake;
    for (const auto& [known, paired] : tensors_) {
      if (paired.is_same(fake)) return known;
    }
    tensors_.emplace_back(HostTensor(fake, ToHost(fake.storage())), fake);
    return tensors_.back().first;
  }

  c10::IValue ToHost(const c10::IValue& value) {
    if (value.isTensor()) return ToHost(value.toTensor());
    if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& tensor : value.toTensorVector()) list.push_back(ToHost(tensor));
      return list;
    }
    if (value.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> list;
      for (const std::optional<at::Tensor>& tensor : value.toOptionalTensorVector()) {
        list.push_back(tensor ? std::optional(ToHost(*tensor)) : std::nullopt);
      }
      return list;
    }
    if (value.isStorage()) return ToHost(value.toStorage());
    if (value.isDevice()) return c10::Device(c10::DeviceType::CPU);
    if (value.isGenerator()) {
      const at::Generator generator = value.toGenerator();
      TORCH_CHECK(generator.device().type() == kFake, "Expected a '", c10::Device(kFake),
                  "' device type for generator but found '", generator.device(), "'");
      return static_cast<FakeGenerator*>(generator.unsafeGetGeneratorImpl())->host();
    }
    return value;
  }

  c10::Storage FromHost(const c10::Storage& host) {
    for (const auto& [known, fake] : storages_) {
      if (known.unsafeGetStorageImpl() == host.unsafeGetStorageImpl()) return fake;
    }
    storages_.emplace_back(host, c10::Storage(c10::Storage::use_byte_size_t(), host.nbytes(),
                                              DeviceMemory(host, *device_), Memory(),
                                              /*resizable=*/true));
    return storages_.back().second;
  }

  at::Tensor FromHost(const at::Tensor& host) {
    if (!host.defined() || device_->type() != kFake) return host;
    for (const auto& [known, fake] : tensors_) {
      if (known.is_same(host)) return fake;
    }
    const c10::Storage storage = FromHost(host.storage());
    at::Tensor fake;
    for (const auto& [known, base] : tensors_) {
      if (!base.storage().is_alias_of(storage)) continue;
      // A view takes its base's keys: in inference mode too it is normal if its base is.
      fake = at::detail::make_tensor<c10::TensorImpl>(c10::TensorImpl::VIEW, c10::Storage(storage),
                                                      base.key_set(), host.dtype());
      break;
    }
    if (!fake.defined()) {
      fake = at::detail::make_tensor<c10::TensorImpl>(
          c10::Storage(storage), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), host.dtype());
    }
    c10::TensorImpl* impl = fake.unsafeGetTensorImpl();
    impl->set_sizes_and_strides(host.sizes(), host.strides(), host.storage_offset());
    impl->_set_conj(host.is_conj());
    impl->_set_neg(host.is_neg());
    return fake;
  }

  c10::IValue FromHost(const c10::IValue& value) {
    if (value.isTensor()) return FromHost(value.toTensor());
    if (!value.isTensorList()) return value;
    c10::List<at::Tensor> list;
    for (const at::Tensor& tensor : value.toTensorVector()) list.push_back(FromHost(tensor));
    return list;
  }

  /// Give an argument what the kernel made of it: the shape of an output, the memory of a set_.
  void FollowShape(const at::Tensor& fake, const at::Tensor& host) {
    c10::TensorImpl* impl = fake.unsafeGetTensorImpl();
    const c10::Storage storage = FromHost(host.storage());
    if (!fake.storage().is_alias_of(storage)) impl->set_storage_keep_dtype(storage);
    if (fake.sizes() == host.sizes() && fake.strides() == host.strides() &&
        fake.storage_offset() == host.storage_offset()) {
      return;
    }
    impl->set_sizes_and_strides(host.sizes(), host.strides(), host.storage_offset());
  }

  const c10::OperatorHandle& op_;
  c10::Stack& stack_;
  std::optional<c10::Device> device_;
  std::vector<std::pair<at::Tensor, at::Tensor>> tensors_;       // Of the host, and its fake.
  std::vector<std::pair<c10::Storage, c10::Storage>> storages_;  // The same.
};

void RunOnHost(const c10::OperatorHandle& op, c10::Stack* stack) {
  // Autograd, where it is wanted, has recorded the fake tensors.
  const at::AutoDispatchBelowADInplaceOrView below;
  HostCall(op, *stack).Run();
}

/// What copy_ calls between any two devices of which one is fake.
at::Tensor CopyFrom(const at::Tensor& from, const at::Tensor& to, bool /*non_blocking*/) {
  const at::AutoDispatchBelowADInplaceOrView below;
  const auto host = [](const at::Tensor& tensor) {
    return tensor.device().type() == kFake ? HostTensor(tensor, HostStorage(tensor.storage()))
                                           : tensor;
  };
  host(to).copy_(host(from));
  return to;
}

/// As with CUDA's tensors, what Module::to may put into a tensor of another device.
bool HasCompatibleShallowCopyType(const at::Tensor& /*tensor*/, const at::Tensor& from) {
  return from.layout() == at::kStrided;
}

void RecordStream(at::Tensor& /*tensor*/, c10::Stream /*stream*/) {}

/// Every operator for which the CPU has a kernel of its own is run by it, also where a composite
/// one would do: the numbers are the CPU's. Operators of other libraries are not: one that has a
/// kernel for the CPU alone fails on CUDA.
void RegisterKernels() {
  static auto* const kLibrary = new torch::Library(
      torch::Library::IMPL, "aten", c10::DispatchKey::PrivateUse1, __FILE__, __LINE__);
  c10::Dispatcher& dispatcher = c10::Dispatcher::singleton();
  for (const c10::OperatorName& name : dispatcher.getAllOpNames()) {
    const std::optional<c10::OperatorHandle> op = dispatcher.findOp(name);
    if (op && name.getNamespace() == "aten" && op->hasKernelForDispatchKey(c10::DispatchKey::CPU)) {
      kLibrary->impl(c10::toString(name).c_str(),
                     torch::CppFunction::makeFromBoxedFunction<&RunOnHost>());
    }
  }
  // The composite kernels of these ask which library's convolution the device has.
  for (const char* name : {"convolution", "convolution_backward"}) {
    kLibrary->impl(name, torch::CppFunction::makeFromBoxedFunction<&RunOnHost>());
  }
  kLibrary->impl("_copy_from", &CopyFrom);
  for (const c10::DispatchKey key : {c10::DispatchKey::Conjugate, c10::DispatchKey::Negative}) {
    // What these keys do otherwise, a clone, calls _copy_from again.
    static auto* const kFallthroughs = new std::vector<std::unique_ptr<torch::Library>>();
    kFallthroughs->push_back(
        std::make_unique<torch::Library>(torch::Library::IMPL, "aten", key, __FILE__, __LINE__));
    kFallthroughs->back()->impl("_copy_from", torch::CppFunction::makeFallthrough());
  }
  kLibrary->impl("_has_compatible_shallow_copy_type", &HasCompatibleShallowCopyType);
  kLibrary->impl("record_stream", &RecordStream);
}

// Devices. Streams and events are there and always done.

struct FakeGuard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return kFake; }
  c10::DeviceIndex deviceCount() const noexcept override {
    return static_cast<c10::DeviceIndex>(device_count);
  }
  c10::Device getDevice() const override { return {kFake, current_index}; }
  void setDevice(c10::Device device) const override { uncheckedSetDevice(WithIndex(device)); }
  void uncheckedSetDevice(c10::Device device) const noexcept override {
    if (device.has_index()) current_index = device.index();
  }
  c10::Device exchangeDevice(c10::Device device) const override {
    const c10::Device before = getDevice();
    setDevice(device);
    return before;
  }
  c10::Stream getStream(c10::Device device) const override {
    return c10::Stream(c10::Stream::DEFAULT, WithIndex(device));
  }
  c10::Stream getDefaultStream(c10::Device device) const override { return getStream(device); }
  c10::Stream getNewStream(c10::Device device, int) const override { return getStream(device); }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool) const override {
    return getStream(device);
  }
  c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override {}
  void synchronizeDevice(c10::DeviceIndex) const override {}
  void record(void**, const c10::Stream&, c10::DeviceIndex, c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void synchronizeEvent(void*) const override {}
};

struct FakeHooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return FakeGuard().deviceCount(); }
  c10::Allocator* getPinnedMemoryAllocator() const override { return &PinnedAllocator::Get(); }
  bool isPinnedPtr(const void* data) const override { return PinnedAllocator::Get().Has(data); }
  at::Generator getNewGenerator(c10::DeviceIndex index) const override {
    return NewGenerator(WithIndex({kFake, index}));
  }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex index) const override {
    static auto* const kGenerators = [] {
      auto* generators = new std::vector<at::Generator>;
      for (int i = 0; i < device_count; ++i) {
        generators->push_back(NewGenerator({kFake, static_cast<c10::DeviceIndex>(i)}));
      }
      return generators;
    }();
    return kGenerators->at(index < 0 ? current_index : index);
  }
  void resizePrivateUse1Bytes(const c10::Storage& storage, size_t bytes) const override {
    at::native::resize_bytes_cpu(HostStorage(storage).unsafeGetStorageImpl(), bytes);
    FollowHost(storage);
  }
};

}  // namespace

void RegisterFakeDevices(int count) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  TORCH_CHECK(count > 0 && (device_count == 0 || device_count == count), "this process has ",
              device_count, " fake devices and cannot have ", count);
  if (device_count != 0) return;
  device_count = count;
  c10::register_privateuse1_backend("fake");
  c10::SetAllocator(kFake, Memory());
  // LibTorch uses what it is given here for as long as the process runs.
  c10::impl::registerDeviceGuard(kFake, new FakeGuard);
  at::RegisterPrivateUse1HooksInterface(new FakeHooks);
  RegisterKernels();
}

}  // namespace weft::testing
