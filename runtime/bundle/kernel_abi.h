/* The contract between a compiled attention kernel and whoever launches it.
 *
 * One layout of call parameters serves every target: a block of little-endian
 * 32-bit words, plus one buffer per binding. The compiler and the runtime both
 * include this header; it depends on nothing and is plain C.
 *
 * Launching
 *   cpu    fn(words, buffers, arena, item_begin, item_end); a work item is one
 *          (batch, head, query tile): item = (batch * heads + head) * q_tiles + q_tile.
 *   ptx    kernel parameters are u64 pointers: words, buffer 0, buffer 1, ...
 *          grid = (q_tiles, heads, batch). Then, for each binding whose record has
 *          a tensor map, in the order of the bindings, that map: 128 bytes, aligned
 *          to 64, of dims (dim, token, head, batch) with the call's strides.
 *   spirv  descriptor set 0: binding 0 = words, binding 1 + i = buffer i, all
 *          storage buffers; grid = (q_tiles, heads, batch).
 * where q_tiles = ceil(q_len / block_q) and block_q comes from the kernel's
 * record in the bundle.
 *
 * Addressing
 *   element (batch, head, token, dim) of binding i lies at element offset
 *     offset + batch * stride_batch + head * stride_head + token * stride_token + dim
 *   where the four numbers are the words at ATTN_W_BINDINGS + 4 * i. The
 *   innermost stride is 1. K, V and their scales are indexed by KV head,
 *   kv_head = head / (heads / kv_heads). `lse` and scale bindings have no dim.
 *   Tables are dense and use their own extents, from the outermost: all four
 *   words of a table of rank 4, which starts at its buffer's first element.
 *
 * Keys
 *   The keys of a call are a list of segments. Slot `first_slot + i` of K and V
 *   holds the key at position `first_position + i`, for 0 <= i < length. Query
 *   row r has position q_position + r. Masks and scores see positions only.
 *   A segment of length 0 is legal and ignored. Positions lie in
 *   [0, ATTN_POSITION_LIMIT): differences and sums of two never leave i32, which
 *   the derived tile classes rely on; launchers refuse others.
 */
#ifndef ATTN_BUNDLE_KERNEL_ABI_H
#define ATTN_BUNDLE_KERNEL_ABI_H

#include <stdint.h>

#define ATTN_KERNEL_ABI_VERSION 2u
#define ATTN_POSITION_LIMIT (1 << 30)

enum {
  ATTN_W_Q_LEN = 0,        /* query rows in this call, i32 */
  ATTN_W_BATCH = 1,        /* i32 */
  ATTN_W_HEADS = 2,        /* query heads, i32 */
  ATTN_W_KV_HEADS = 3,     /* divides heads, i32 */
  ATTN_W_Q_POSITION = 4,   /* position of query row 0, i32 */
  ATTN_W_SEGMENTS = 5,     /* number of segments per batch entry, i32 */
  ATTN_W_SEGMENT_BASE = 6, /* word index of the first segment record */
  ATTN_W_SEGMENT_STRIDE = 7, /* words from one batch entry's segments to the
                                next one's; 0: all share one list */
  ATTN_W_SCALE = 8,        /* factor on q . k before score functions, f32 */
  ATTN_W_PARAMS = 9,       /* word index of the first runtime parameter */
  ATTN_W_KV_LEN = 10,      /* sum of the segments' lengths of batch entry 0 */
  ATTN_W_LAYER = 11,       /* layer index that masks may read, i32 */
  /* 12..15 reserved, 0 */
  ATTN_W_BINDINGS = 16     /* 4 words per binding, see above */
};

enum { ATTN_BINDING_WORDS = 4 }; /* stride_batch, stride_head, stride_token, offset */

/* One segment record: 4 words. */
enum {
  ATTN_SEG_FIRST_SLOT = 0,
  ATTN_SEG_LENGTH = 1,
  ATTN_SEG_FIRST_POSITION = 2,
  ATTN_SEG_RESERVED = 3,
  ATTN_SEG_WORDS = 4
};

/* Merge kernels have no keys. Their bindings part_o and part_lse hold partial
 * results; the records in the segments' place say, for each part, how many
 * elements after the binding's first part it begins. */
enum { ATTN_PART_O = 0, ATTN_PART_LSE = 1 };

/* Entry point of a CPU kernel. Runs work items [item_begin, item_end).
 * `arena` is scratch of at least the record's arena_bytes, 64-byte aligned,
 * owned by the calling thread for the duration of the call. */
typedef void (*attn_cpu_kernel_fn)(const uint32_t *words, void *const *buffers,
                                   void *arena, uint32_t item_begin,
                                   uint32_t item_end);

/* A second form of a CPU kernel, for calls with few query rows, exported beside it as
 * `<symbol>_decode_plan`, `_decode_walk` and `_decode_finish`; a kernel may lack it.
 * The plan says whether this form is to be used for a call (not 0), and writes three
 * numbers: pieces of work, tiles, and bytes of memory that each piece needs. All
 * pieces [begin, end) are walked, in any order and by any number of threads, then
 * all tiles are finished. `parts`, 64-byte aligned, has room for all pieces and is
 * passed from one to the other; `arena` is as above. All three depend on the call's
 * shape alone, so results do not depend on the number of threads. */
enum { ATTN_PLAN_PIECES = 0, ATTN_PLAN_TILES = 1, ATTN_PLAN_PIECE_BYTES = 2, ATTN_PLAN_WORDS = 3 };
typedef uint32_t (*attn_cpu_decode_plan_fn)(const uint32_t *words, uint32_t *plan);
typedef void (*attn_cpu_decode_fn)(const uint32_t *words, void *const *buffers, void *arena,
                                   void *parts, uint32_t begin, uint32_t end);

/* Tile classes, in the order in which a range list names them. */
enum { ATTN_TILE_EMPTY = 0, ATTN_TILE_PARTIAL = 1, ATTN_TILE_FULL = 2 };

/* Exported beside each CPU kernel as `<symbol>_ranges`: writes the KV ranges of
 * one query tile in the order in which the kernel walks them, 4 words each
 * {segment, first key within the segment, one past the last, class}, at most
 * `capacity` of them, and returns how many there are. Empty tiles are absent;
 * neighbouring tiles of one class are one range. Of the buffers only tables are
 * read. */
typedef uint32_t (*attn_cpu_ranges_fn)(const uint32_t *words, void *const *buffers,
                                       uint32_t batch, uint32_t head,
                                       uint32_t q_tile, uint32_t *out,
                                       uint32_t capacity);

#endif
