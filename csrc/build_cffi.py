"""Builds ``atomic_intenum._cffi``: cffi_calls.h, and so core.h, for what can call C through cffi.

setup.py runs this.
"""

from pathlib import Path

from cffi import FFI

# Not resolved: setuptools takes relative paths only, and runs this from the folder of setup.py.
HERE = Path(__file__).parent

DECLARATIONS = """
#define AIE_OK ...
#define AIE_MISMATCH ...
#define AIE_BUSY ...
#define AIE_ELSEWHERE ...
#define AIE_CFFI_RESULT ...
#define AIE_CFFI_ANY ...
#define AIE_CFFI_OUTERMOST ...
#define AIE_CFFI_ABANDONED ...

#define AIE_MAGIC ...
#define AIE_LAYOUT_VERSION ...
#define AIE_PROTOCOL_ATOMIC ...
#define AIE_SINGLE_STRIDE ...
#define AIE_VERSION_SHIFT ...
#define AIE_ROBUST ...
#define AIE_FUTEX ...
#define AIE_LIBC ...
#define AIE_MUTEX_SIZE ...
#define AIE_CONTROL_SIZE ...
#define AIE_SLICE ...
#define AIE_WHY_SIZE ...
#define AIE_HEAD_SIZE ...
#define AIE_LIFE_LOCKS ...

typedef struct {
    uint32_t layout_version, kind, creator_pid, vocabulary_size;
    uint64_t creator_start, pid_namespace, nonce;
    uint32_t vocabulary_offset, protocol;
    uint64_t fingerprint, capacity, control_offset;
    uint32_t header_size, word_stride, control_stride, mutex_size, libc, on_death_size;
    uint64_t owners_offset;
    ...;
} aie_header;
struct aie_owners;
typedef struct {
    unsigned char *base;
    size_t size;
    bool elsewhere;
    struct aie_owners *owners;
    ...;
} aie_region;
typedef ... aie_word;
typedef ... aie_control;
typedef ... aie_event;
typedef struct {
    unsigned char *words, *controls;
    size_t stride, count;
    aie_event *event;
    struct aie_owners *owners;
} aie_array;
typedef struct {
    size_t word_offset, word_stride, control_offset, count, owners_offset;
    const unsigned char *rules;
    size_t rule_count;
    bool always;
} aie_owners_plan;
typedef struct {
    aie_array words;
    aie_region *region;
} aie_cffi_place;
typedef struct {
    const int32_t *values;
    size_t count;
    bool leave;
} aie_goal;
typedef struct {
    aie_goal goal;
    bool all;
    size_t index;
    const int32_t *before;
} aie_watch;

typedef struct {
    int ends[2];
    ...;
} aie_desk;

int aie_cffi_create(aie_region **region, const char *name, const unsigned char *head,
                    size_t head_size, size_t size, int32_t first, bool nameless);
int aie_cffi_attach(aie_region **region, const char *name, int answer, char *why);
bool aie_name_peek(const char *name, aie_header *head);
int aie_name_clean(const char *name);
int aie_region_unlink(aie_region *region);
void aie_region_pickled(aie_region *region);
void aie_region_drop(aie_region *region);
void aie_regions_expire(void);
void aie_regions_end(void);

int32_t aie_cffi_number(aie_word *word);
uint32_t aie_cffi_version(aie_word *word);
bool aie_cffi_is_locked(aie_word *word);
void aie_word_first(aie_word *word, int32_t value);
int64_t aie_cffi_change(const aie_cffi_place *place, size_t index, int64_t expected,
                        int32_t desired, bool wait);
int64_t aie_cffi_exchange(const aie_cffi_place *place, int32_t desired);
int64_t aie_cffi_compare_and_set(const aie_cffi_place *place, int32_t expected, int32_t desired);

int32_t aie_array_value(const aie_array *array, size_t index);
void aie_array_read(const aie_array *array, int32_t *values);
size_t aie_array_count(const aie_array *array, int32_t value);
void aie_array_tally(const aie_array *array, int32_t low, uint32_t span, size_t *tallies);
int64_t aie_cffi_fill(const aie_cffi_place *place, size_t from, int32_t desired);
int64_t aie_cffi_claim(const aie_cffi_place *place, size_t start, int32_t expected, int32_t desired,
                       bool wait, bool at_last);
bool aie_watch_met(const aie_array *array, aie_watch *watch);
bool aie_cffi_watch_is_own(const aie_cffi_place *place, const aie_watch *watch);
int aie_watch_await(const aie_array *array, aie_watch *watch, int64_t deadline, bool spin);

int aie_region_has_owners(aie_region *region, const aie_owners_plan *plan);
void aie_cffi_notice(const aie_cffi_place *place);
void aie_cffi_owners(const aie_region *region, size_t first, size_t count, uint32_t *pids);
size_t aie_cffi_recover(const aie_region *region, size_t first, size_t count, size_t *given);
int64_t aie_cffi_own(aie_region *region, size_t index, bool ends, bool wait);

int aie_desk_open(aie_desk *desk);
void aie_desk_close(aie_desk *desk);
int aie_desk_watch(aie_desk *desk, aie_region *region, const aie_array *words, bool whole,
                   uint32_t *slot);
int aie_desk_watch_on(aie_desk *desk, uint32_t slot, bool content);
void aie_desk_unwatch(aie_desk *desk, uint32_t slot);
size_t aie_desk_take(aie_desk *desk, uint32_t *slots, size_t room);

int64_t aie_now(void);
int aie_await(aie_word *word, const aie_goal *goal, int64_t deadline, bool spin, uint64_t *seen);
void aie_cffi_set_spin(int64_t ns);
int aie_cffi_lock(const aie_cffi_place *place, bool quietly, int64_t deadline);
int aie_cffi_lock_release(const aie_cffi_place *place);
void aie_cffi_lock_goes(const aie_cffi_place *place);
bool aie_cffi_is_mine(const aie_cffi_place *place);
const char *aie_result_text(int result);
uint32_t aie_lock_depth_in_process(aie_control *control);
"""

ffi = FFI()
ffi.cdef(DECLARATIONS)
ffi.set_source(
    "atomic_intenum._cffi",
    '#include "cffi_calls.h"',
    # Quoted includes only: with -I a header there would hide one of the system's of the same name.
    # AIE_ANY_TLS: so this loads also where other libraries have taken all that glibc keeps for TLS.
    extra_compile_args=["-std=c11", "-O3", "-pthread", "-DAIE_ANY_TLS", "-iquote", str(HERE)],
    extra_link_args=["-pthread"],
    # Without these a build by time stamps would keep the core of an older header.
    depends=[__file__, *(str(header) for header in sorted(HERE.glob("*.h")))],
)
