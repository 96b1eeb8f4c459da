"""Builds ``atomic_intenum._cffi``: cffi_calls.h, and so core.h, for what can call C through cffi.

setup.py runs this; by hand (``python csrc/build_cffi.py``) it builds into the current folder.
"""

from pathlib import Path

from cffi import FFI

# Not resolved: setuptools takes relative paths only, and runs this from the folder of setup.py.
HERE = Path(__file__).parent

DECLARATIONS = """
#define AIE_OK ...
#define AIE_MISMATCH ...
#define AIE_LOCKED ...
#define AIE_BUSY ...
#define AIE_CFFI_RESULT ...
#define AIE_CFFI_OUTERMOST ...
#define AIE_CFFI_ABANDONED ...

#define AIE_MAGIC ...
#define AIE_LAYOUT_VERSION ...
#define AIE_PROTOCOL_ATOMIC ...
#define AIE_PROTOCOL_LOCK ...
#define AIE_SINGLE_STRIDE ...
#define AIE_VERSION_SHIFT ...
#define AIE_ROBUST ...
#define AIE_FUTEX ...
#define AIE_LIBC ...
#define AIE_MUTEX_SIZE ...
#define AIE_CONTROL_SIZE ...
#define AIE_SLICE ...

typedef struct {
    uint32_t layout_version, header_size, protocol, word_stride;
    uint64_t capacity, control_offset;
    uint32_t control_stride, mutex_size, libc, vocabulary_size;
    uint64_t fingerprint, nonce, creator_start, pid_namespace;
    uint32_t creator_pid, kind;
    ...;
} aie_header;
typedef ... aie_region;
typedef ... aie_word;
typedef ... aie_control;
typedef ... aie_event;
typedef struct {
    unsigned char *words, *controls;
    size_t stride, count;
    aie_event *event;
} aie_array;
typedef struct {
    const int32_t *values;
    size_t count;
    bool leave;
} aie_goal;
typedef struct {
    aie_goal goal;
    bool all;
    size_t index;
} aie_watch;

aie_region *aie_region_map(int fd, size_t size);
bool aie_region_is_mapped(uint64_t device, uint64_t inode);
void aie_region_drop(aie_region *region);
void *aie_cffi_base(aie_region *region);
aie_word *aie_cffi_word(aie_region *region, size_t offset);
aie_control *aie_cffi_control(aie_region *region, size_t offset);
aie_event *aie_cffi_event(aie_region *region);
int aie_cffi_prepare(aie_control *controls, size_t count);
void aie_cffi_publish(aie_region *region);
uint64_t aie_cffi_published(aie_region *region);

int32_t aie_cffi_number(aie_word *word);
uint32_t aie_cffi_version(aie_word *word);
bool aie_cffi_is_locked(aie_word *word);
void aie_word_first(aie_word *word, int32_t value);
int64_t aie_cffi_exchange(aie_word *word, aie_event *event, int32_t desired);
int aie_cffi_compare_and_set(aie_word *word, aie_event *event, int32_t expected, int32_t desired);
int64_t aie_cffi_change_slice(aie_word *word, aie_control *control, aie_event *event,
    bool compare, int32_t expected, int32_t desired, bool wait);

aie_word *aie_array_word(const aie_array *array, size_t index);
aie_control *aie_array_control(const aie_array *array, size_t index);
int32_t aie_array_value(const aie_array *array, size_t index);
void aie_array_read(const aie_array *array, size_t from, size_t to, int32_t *values);
size_t aie_array_count(const aie_array *array, int32_t value);
void aie_array_tally(const aie_array *array, int32_t low, uint32_t span, size_t *tallies);
size_t aie_array_fill(const aie_array *array, size_t from, int32_t value);
int64_t aie_cffi_array_exchange(const aie_array *array, size_t index, int32_t desired);
int aie_cffi_array_compare_and_set(const aie_array *array, size_t index, int32_t expected,
                                   int32_t desired);
int64_t aie_cffi_array_claim(const aie_array *array, size_t start, int32_t expected,
                             int32_t desired, bool wait);
bool aie_watch_met(const aie_array *array, aie_watch *watch);
bool aie_watch_is_own(const aie_array *array, const aie_watch *watch);
int aie_watch_await(const aie_array *array, aie_watch *watch, int64_t deadline, bool spin);

int64_t aie_now(void);
int aie_cffi_await(aie_word *word, const int32_t *values, size_t count, bool leave,
                   int64_t deadline, bool spin);
void aie_cffi_set_spin(int64_t ns);
int aie_cffi_lock_try(aie_region *region, aie_control *control, aie_word *word, bool quietly);
int aie_cffi_lock_until(aie_region *region, aie_control *control, aie_word *word, bool quietly,
                        int64_t deadline);
int aie_cffi_lock_release(aie_region *region, aie_control *control, aie_word *word);
bool aie_lock_is_mine(aie_control *control, aie_word *word);
const char *aie_result_text(int result);
uint32_t aie_lock_depth_in_process(aie_control *control);
"""

ffi = FFI()
ffi.cdef(DECLARATIONS)
ffi.set_source(
    "atomic_intenum._cffi",
    '#include "cffi_calls.h"',
    # Quoted includes only: with -I a header there would hide one of the system's of the same name.
    extra_compile_args=["-std=c11", "-O3", "-pthread", "-iquote", str(HERE)],
    extra_link_args=["-pthread"],
    # Without these a build by time stamps would keep the core of an older header.
    depends=[__file__, *(str(header) for header in sorted(HERE.glob("*.h")))],
)

if __name__ == "__main__":
    ffi.compile(verbose=True)
