// Processes that start, run another program and end; and those that the kernel killed because memory ran out.

#include "common.h"

#define COMM_LEN 16

struct task_struct {
    int pid;
    int tgid;
    char comm[COMM_LEN];
} __attribute__((preserve_access_index));

// Indexes of `counts`. ebpf/src/process.rs says the same.
enum {
    FORKS,
    EXECS,
    EXITS,
    OOM_KILLS,
    COUNTS,
};

// Names of victims that are kept; the least used is forgotten.
#define VICTIMS_MAX 64

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, COUNTS);
    __type(key, __u32);
    __type(value, __u64);
} counts SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, VICTIMS_MAX);
    __type(key, char[COMM_LEN]);
    __type(value, __u64);
} victims SEC(".maps");

static ALWAYS_INLINE void count(__u32 index)
{
    __u64 *value = bpf_map_lookup_elem(&counts, &index);

    if (value)
        *value += 1;
}

// TP_PROTO(struct task_struct *parent, struct task_struct *child). A thread is no process.
SEC("tp_btf/sched_process_fork")
int on_fork(__u64 *ctx)
{
    struct task_struct *child = (void *)ctx[1];

    if (child->pid == child->tgid)
        count(FORKS);
    return 0;
}

// TP_PROTO(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)
SEC("tp_btf/sched_process_exec")
int on_exec(__u64 *ctx)
{
    count(EXECS);
    return 0;
}

// TP_PROTO(struct task_struct *p, …)
SEC("tp_btf/sched_process_exit")
int on_exit(__u64 *ctx)
{
    struct task_struct *task = (void *)ctx[0];

    if (task->pid == task->tgid)
        count(EXITS);
    return 0;
}

// TP_PROTO(struct task_struct *task, uid_t uid), since 6.8; a kernel before that refuses this program.
SEC("tp_btf/mark_victim")
int on_victim(__u64 *ctx)
{
    struct task_struct *task = (void *)ctx[0];
    __u64 first = 1, *kills;
    char comm[COMM_LEN] = {};

    count(OOM_KILLS);
    bpf_probe_read_kernel_str(comm, COMM_LEN, task->comm);
    kills = bpf_map_lookup_elem(&victims, comm);
    if (kills)
        __sync_fetch_and_add(kills, 1);
    else
        bpf_map_update_elem(&victims, comm, &first, BPF_ANY);
    return 0;
}

char LICENSE[] SEC("license") = "GPL";
