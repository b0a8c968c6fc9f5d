// Streams in a C++ program that has neither exceptions nor RTTI: of an ONNX model beside
// its files, and of the same model as a package.
// Usage: embed_cpp MODEL.onnx MODEL.attnp
#include <attn/runtime.hpp>
#include <cstdio>

ATTN_LINKED_KERNELS(embedded);

static int fail(const attn::c::Status &status) {
  std::fprintf(stderr, "%s\n", status.text().c_str());
  return 1;
}

static attn::c::Status stream_four(attn::c::Model &model, attn::c::Device &device, bool kernels,
                                   int &blocks) {
  attn::c::Stream stream;
  attn_stream_options_t options = ATTN_INIT(attn_stream_options_t);
  options.reference_attention = !kernels;
  attn::c::Status status = stream.create(model, device, &options);
  auto count = [&](const attn_status_t *, const attn_frames_t *frames) {
    blocks += frames != nullptr;
  };
  if (!status || !(status = stream.next_async(4, count)))
    return status;
  return stream.wait();
}

int main(int argc, char **argv) {
  if (argc != 3)
    return 2;
  attn::c::Device device;
  attn::c::Bundle bundle, package;
  attn::c::Model model, packaged;
  attn::c::Status status = device.open("cpu");
  if (!status || !(status = bundle.open_linked(attn_kernels_embedded)))
    return fail(status);
  if (attn_bundle_kernel_count(bundle.get()) < 2)
    return 1;
  int blocks = 0;
  if (!(status = model.open(argv[1])) || !(status = stream_four(model, device, false, blocks)))
    return fail(status);
  // The package has its own kernels; it may be opened by name or, as here, as a bundle.
  if (!(status = package.open(argv[2])) || !(status = packaged.open_package(package)) ||
      !(status = stream_four(packaged, device, true, blocks)))
    return fail(status);
  std::printf("%d blocks streamed\n", blocks);
  return blocks == 8 ? 0 : 1;
}
