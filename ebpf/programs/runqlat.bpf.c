// Run-queue latency: how long a task that could run waited for a CPU.
//
// A task's wait begins when it is woken, or when it is switched out while still runnable; it ends when
// it is switched in.

#include "common.h"

struct task_struct {
    int pid;
    unsigned int __state;
} __attribute__((preserve_access_index));

// Slots of the table of waits. A task finds its slot by the low bits of its pid; the rest of the pid is kept in
// the entry, so that two tasks of one slot cost a lost measurement and never a wrong one.
#define SLOT_BITS 14
#define SLOTS (1 << SLOT_BITS)

// An entry: 8 bits of pid (pids have at most 22), 56 bits of nanoseconds since boot (2.2 years). 0 is empty.
#define TIME_BITS 56
#define TIME_MASK ((1ULL << TIME_BITS) - 1)

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, SLOTS);
    __type(key, __u32);
    __type(value, __u64);
} waits SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct histogram);
} latency SEC(".maps");

static ALWAYS_INLINE void begin(__u32 pid, __u64 now)
{
    __u32 slot = pid & (SLOTS - 1);
    __u64 *entry = bpf_map_lookup_elem(&waits, &slot);

    // Pid 0 is the idle task, which never waits.
    if (entry && pid)
        *entry = (__u64)(pid >> SLOT_BITS) << TIME_BITS | (now & TIME_MASK);
}

static ALWAYS_INLINE void end(__u32 pid, __u64 now)
{
    __u32 slot = pid & (SLOTS - 1), zero = 0;
    __u64 *entry = bpf_map_lookup_elem(&waits, &slot);
    struct histogram *histogram;
    __u64 waited;

    if (!entry || !*entry || *entry >> TIME_BITS != pid >> SLOT_BITS)
        return;
    waited = (now - *entry) & TIME_MASK;
    *entry = 0;
    histogram = bpf_map_lookup_elem(&latency, &zero);
    if (!histogram)
        return;
    observe(histogram, waited);
}

SEC("tp_btf/sched_wakeup")
int on_wakeup(__u64 *ctx)
{
    struct task_struct *task = (void *)ctx[0];

    begin(task->pid, bpf_ktime_get_ns());
    return 0;
}

SEC("tp_btf/sched_wakeup_new")
int on_wakeup_new(__u64 *ctx)
{
    struct task_struct *task = (void *)ctx[0];

    begin(task->pid, bpf_ktime_get_ns());
    return 0;
}

// TP_PROTO(bool preempt, struct task_struct *prev, struct task_struct *next, unsigned int prev_state)
SEC("tp_btf/sched_switch")
int on_switch(__u64 *ctx)
{
    struct task_struct *before = (void *)ctx[1], *after = (void *)ctx[2];
    __u64 now = bpf_ktime_get_ns();

    // TASK_RUNNING: it was pushed off the CPU and waits again.
    if (before->__state == 0)
        begin(before->pid, now);
    if (after->pid)
        end(after->pid, now);
    return 0;
}

char LICENSE[] SEC("license") = "GPL";
