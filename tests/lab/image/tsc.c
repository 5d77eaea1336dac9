/* Prints the rate of this machine's time stamp counter in MHz, measured against the clock. The guest is told it,
   because its own measurement goes wrong on a busy machine and its time then runs too fast or too slow. */
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

int main(void)
{
	const struct timespec pause = { .tv_nsec = 500000000 };
	const double from = now();
	const unsigned long long first = __rdtsc();

	nanosleep(&pause, NULL);
	printf("%.0f\n", (__rdtsc() - first) / (now() - from));
	return 0;
}
