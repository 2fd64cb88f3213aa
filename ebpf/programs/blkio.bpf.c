// Block I/O latency: the time from a request's issue to the driver to its completion, by disk and operation.

#include "common.h"

struct gendisk {
    int major;
    int first_minor;
} __attribute__((preserve_access_index));

struct request_queue {
    struct gendisk *disk;
} __attribute__((preserve_access_index));

struct request {
    struct request_queue *q;
    unsigned int cmd_flags;
} __attribute__((preserve_access_index));

// The low bits of cmd_flags are the operation (enum req_op, include/linux/blk_types.h).
#define OPERATION_MASK 0xff

// Requests under way at once that are followed: 32 disks with 256 each. What does not fit is counted as lost.
#define UNDER_WAY_MAX 8192

// Pairs of disk and operation: 64 disks with 4. More are counted as lost.
#define SERIES_MAX 256

struct series {
    __u32 major;
    __u32 minor;
    __u32 operation;
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, UNDER_WAY_MAX);
    __type(key, __u64);
    __type(value, __u64);
} under_way SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_HASH);
    __uint(max_entries, SERIES_MAX);
    __type(key, struct series);
    __type(value, struct histogram);
} latency SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
} lost SEC(".maps");

// A new series begins as a copy of this: it is too large for the stack beside all else.
static const struct histogram empty;

static ALWAYS_INLINE void lose(void)
{
    __u32 zero = 0;
    __u64 *count = bpf_map_lookup_elem(&lost, &zero);

    if (count)
        *count += 1;
}

// TP_PROTO(struct request *rq), since 5.11.
SEC("tp_btf/block_rq_issue")
int on_issue(__u64 *ctx)
{
    __u64 key = ctx[0], now = bpf_ktime_get_ns();

    if (bpf_map_update_elem(&under_way, &key, &now, BPF_ANY))
        lose();
    return 0;
}

// TP_PROTO(struct request *rq, blk_status_t error, unsigned int nr_bytes)
SEC("tp_btf/block_rq_complete")
int on_complete(__u64 *ctx)
{
    struct request *request = (void *)ctx[0];
    __u64 key = ctx[0], now = bpf_ktime_get_ns();
    __u64 *begun = bpf_map_lookup_elem(&under_way, &key);
    struct histogram *histogram;
    struct series series = {};
    struct gendisk *disk;
    __u64 taken;

    // Issued before the programs were there, or lost.
    if (!begun)
        return 0;
    taken = now - *begun;
    bpf_map_delete_elem(&under_way, &key);
    disk = request->q->disk;
    series.major = disk->major;
    series.minor = disk->first_minor;
    series.operation = request->cmd_flags & OPERATION_MASK;
    histogram = bpf_map_lookup_elem(&latency, &series);
    if (!histogram) {
        bpf_map_update_elem(&latency, &series, &empty, BPF_ANY);
        histogram = bpf_map_lookup_elem(&latency, &series);
    }
    if (histogram)
        observe(histogram, taken);
    else
        lose();
    return 0;
}

char LICENSE[] SEC("license") = "GPL";
