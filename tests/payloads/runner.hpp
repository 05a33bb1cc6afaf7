/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tests of this folder and what they are written with.  Each runs in a process of its
 * own (a process has one VM), with a time limit.
 *
 *     TEST(property_in_words) { ... EXPECT(condition); EXPECT_EQ(a, b); }
 */
#ifndef PAYLOADS_RUNNER_HPP
#define PAYLOADS_RUNNER_HPP

#include <lguest/ioctl_abi.h>

#include <stdexcept>
#include <string>

namespace payloads
{

class Failure : public std::runtime_error {
public:
	explicit Failure(const std::string &text) : std::runtime_error(text) {}
	template <class... Arguments>
	explicit Failure(const char *format, Arguments... arguments)
		: std::runtime_error(print(format, arguments...))
	{
	}

private:
	static std::string print(const char *format, ...);
};

/* Thrown by a test that makes no sense on this machine. */
class Skip : public std::runtime_error {
	using std::runtime_error::runtime_error;
};

/* The result of a system call, or a Failure with its errno. */
long check_system(long result, const char *what);

/* Whether the host's kernel is one full of checks: it is slow, and keeps freed memory a while. */
bool on_debug_kernel();

/* When a test's time is over its guest has to leave LG_RUN; nullptr: no guest. */
void immediate_exit_on_alarm(lg_run *run);
bool timed_out();

struct Registration {
	Registration(const char *name, void (*body)(), unsigned seconds, bool lasting);
};

void expect_equal(unsigned long long found, unsigned long long expected, const char *file, int line,
		  const char *text);
void expect_that(bool condition, const char *file, int line, const char *text);
void expect_contains(const std::string &text, const std::string &part, const char *file, int line);

#define TEST(name) TEST_REGISTERED(name, 20, false)
/* Takes time by the clock or many steps: run-payloads --quick leaves it out. */
#define LASTING_TEST(name, seconds) TEST_REGISTERED(name, seconds, true)
#define TEST_REGISTERED(name, seconds, lasting)				\
	static void name();							\
	static const ::payloads::Registration name##_registration(#name, name, seconds, lasting);	\
	static void name()

#define EXPECT(condition) ::payloads::expect_that((condition), __FILE__, __LINE__, #condition)
#define EXPECT_EQ(found, expected)						\
	::payloads::expect_equal((found), (expected), __FILE__, __LINE__, #found)
#define EXPECT_CONTAINS(text, part) ::payloads::expect_contains((text), (part), __FILE__, __LINE__)

} // namespace payloads

#endif
