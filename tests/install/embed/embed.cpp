// A stream in a C++ program that has neither exceptions nor RTTI.
// Usage: embed_cpp MODEL.onnx
#include <attn/runtime.hpp>
#include <cstdio>

ATTN_LINKED_KERNELS(embedded);

static int fail(const attn::c::Status &status) {
  std::fprintf(stderr, "%s\n", status.text().c_str());
  return 1;
}

int main(int argc, char **argv) {
  if (argc != 2)
    return 2;
  attn::c::Device device;
  attn::c::Bundle bundle;
  attn::c::Model model;
  attn::c::Stream stream;
  attn::c::Status status = device.open("cpu");
  if (!status || !(status = bundle.open_linked(attn_kernels_embedded)))
    return fail(status);
  if (attn_bundle_kernel_count(bundle.get()) < 2)
    return 1;
  attn_stream_options_t options = ATTN_INIT(attn_stream_options_t);
  options.reference_attention = 1;
  if (!(status = model.open(argv[1])) || !(status = stream.create(model, device, &options)))
    return fail(status);
  int blocks = 0;
  auto count = [&](const attn_status_t *, const attn_frames_t *frames) {
    blocks += frames != nullptr;
  };
  if (!(status = stream.next_async(4, count)) || !(status = stream.wait()))
    return fail(status);
  std::printf("%d blocks streamed\n", blocks);
  return blocks == 4 ? 0 : 1;
}
