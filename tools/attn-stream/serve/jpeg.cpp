#include "tools/attn-stream/serve/jpeg.h"

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <jpeglib.h>

namespace attn::tool {
namespace {

// libjpeg's own handler ends the process.
struct ErrorManager {
  jpeg_error_mgr base;
  std::jmp_buf leave;
};

[[noreturn]] void leave(j_common_ptr info) {
  std::longjmp(reinterpret_cast<ErrorManager *>(info->err)->leave, 1);
}

} // namespace

Status append_jpeg(const stream::Picture &picture, int quality, std::string &out) {
  jpeg_compress_struct info;
  ErrorManager errors;
  unsigned char *bytes = nullptr;
  unsigned long size = 0;
  info.err = jpeg_std_error(&errors.base);
  errors.base.error_exit = leave;
  if (setjmp(errors.leave)) {
    jpeg_destroy_compress(&info);
    std::free(bytes);
    return Status::environment("a frame could not be encoded as JPEG: too little memory");
  }
  jpeg_create_compress(&info);
  jpeg_mem_dest(&info, &bytes, &size);
  info.image_width = static_cast<JDIMENSION>(picture.width);
  info.image_height = static_cast<JDIMENSION>(picture.height);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, quality, TRUE);
  for (int i = 0; i < info.num_components; ++i)
    info.comp_info[i].h_samp_factor = info.comp_info[i].v_samp_factor = 1;
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    // The interface is not const-correct; rows are only read.
    JSAMPROW row =
        const_cast<JSAMPROW>(picture.rgb.data() + size_t(info.next_scanline) * picture.width * 3);
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  out.append(reinterpret_cast<const char *>(bytes), size);
  jpeg_destroy_compress(&info);
  std::free(bytes);
  return {};
}

} // namespace attn::tool
