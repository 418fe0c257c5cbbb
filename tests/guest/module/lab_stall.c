// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Stalls of the kernel, made on purpose, for tests in a guest. A line written to /proc/lab_stall names one:
 *
 *   irqs-off <ms>           the CPU of the writer keeps its interrupts off
 *   preempt-off <ms>        the CPU of the writer runs kernel code that never leaves it, interrupts on
 *   long-handler <cpu> <ms> that CPU takes a cross-call whose function takes that long; the writer does not wait
 *   cross-call <cpu>        the CPU of the writer waits for a cross-call to that CPU
 *
 * Reading says "spinning" or "idle". What stalls has a name of its own and is not inlined, so that stacks tell it.
 */
#include <linux/atomic.h>
#include <linux/cpumask.h>
#include <linux/irqflags.h>
#include <linux/module.h>
#include <linux/preempt.h>
#include <linux/proc_fs.h>
#include <linux/smp.h>
#include <linux/uaccess.h>
#include <asm/msr.h>
#include <asm/tsc.h>

#define NAME "lab_stall"
/* No stall is longer than this, in milliseconds. */
#define LONGEST 20000
#define LINE 64

/* How many CPUs spin. */
static atomic_t spinning = ATOMIC_INIT(0);

/* Spins for that long by the CPU's own counter: with interrupts off every other clock may stand still. */
static noinline void lab_spin(unsigned int ms)
{
	u64 cycles = (u64)min_t(unsigned int, ms, LONGEST) * tsc_khz;
	u64 start = rdtsc_ordered();

	atomic_inc(&spinning);
	while (rdtsc_ordered() - start < cycles)
		cpu_relax();
	atomic_dec(&spinning);
}

static noinline void lab_spin_with_interrupts_off(unsigned int ms)
{
	unsigned long flags;

	local_irq_save(flags);
	lab_spin(ms);
	local_irq_restore(flags);
}

static noinline void lab_spin_with_preemption_off(unsigned int ms)
{
	preempt_disable();
	lab_spin(ms);
	preempt_enable();
}

static noinline void lab_spin_in_cross_call(void *ms)
{
	lab_spin((unsigned long)ms);
}

static noinline void lab_answer_cross_call(void *unused)
{
}

static noinline int lab_wait_for_cross_call(unsigned int cpu)
{
	return smp_call_function_single(cpu, lab_answer_cross_call, NULL, 1);
}

static int lab_stall(const char *line)
{
	unsigned int cpu, ms;

	if (sscanf(line, "irqs-off %u", &ms) == 1)
		return lab_spin_with_interrupts_off(ms), 0;
	if (sscanf(line, "preempt-off %u", &ms) == 1)
		return lab_spin_with_preemption_off(ms), 0;
	if (sscanf(line, "long-handler %u %u", &cpu, &ms) == 2)
		return smp_call_function_single(cpu, lab_spin_in_cross_call, (void *)(unsigned long)ms, 0);
	if (sscanf(line, "cross-call %u", &cpu) == 1)
		return lab_wait_for_cross_call(cpu);
	return -EINVAL;
}

static ssize_t lab_write(struct file *file, const char __user *from, size_t length, loff_t *offset)
{
	char line[LINE] = {};
	int error;

	if (length >= LINE)
		return -EINVAL;
	if (copy_from_user(line, from, length))
		return -EFAULT;
	error = lab_stall(line);
	return error ? error : length;
}

static ssize_t lab_read(struct file *file, char __user *to, size_t length, loff_t *offset)
{
	const char *state = atomic_read(&spinning) ? "spinning\n" : "idle\n";

	return simple_read_from_buffer(to, length, offset, state, strlen(state));
}

static const struct proc_ops lab_ops = {
	.proc_write = lab_write,
	.proc_read = lab_read,
};

static int __init lab_init(void)
{
	return proc_create(NAME, 0600, NULL, &lab_ops) ? 0 : -ENOMEM;
}

static void __exit lab_exit(void)
{
	remove_proc_entry(NAME, NULL);
}

module_init(lab_init);
module_exit(lab_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Makes a guest's kernel stall, for tests");
