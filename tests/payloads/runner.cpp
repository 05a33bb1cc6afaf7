/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * run-payloads [--quick] [PATTERN...]: runs all payloads of the table and all tests in
 * C++, or those whose names match a shell pattern, and prints TAP.  Exit status 1 if one
 * failed.  --quick: not what takes long by the clock, which a slow emulator's may not keep.
 */
#include "runner.hpp"

#include <fnmatch.h>
#include <signal.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <functional>
#include <string_view>
#include <vector>

#include "guest.hpp"

namespace payloads
{

namespace
{

constexpr unsigned kPayloadSeconds = 20;
/* On a debug kernel everything may take that much longer. */
constexpr unsigned kDebugPatience = 4;
/* After its time a test has this long to say where it was, then it is killed. */
constexpr unsigned kGraceSeconds = 5;
constexpr int kSkipped = 77;

struct Test {
	std::string name;
	std::function<void()> body;
	unsigned seconds;
	bool lasting;
};

std::vector<Test> &tests()
{
	static std::vector<Test> all;
	return all;
}

lg_run *volatile alarmed_run;
volatile sig_atomic_t alarm_came;

void on_alarm(int)
{
	alarm_came = 1;
	if (alarmed_run)
		alarmed_run->immediate_exit = 1;
}

} // namespace

/* -- for the tests --------------------------------------------------------------------- */

std::string Failure::print(const char *format, ...)
{
	char text[1024];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return text;
}

long check_system(long result, const char *what)
{
	if (result < 0)
		throw Failure("%s: %s", what, strerror(errno));
	return result;
}

bool on_debug_kernel()
{
	utsname name{};

	return uname(&name) == 0 && std::string_view(name.release).ends_with("-debug");
}

void immediate_exit_on_alarm(lg_run *run)
{
	alarmed_run = run;
}

bool timed_out()
{
	return alarm_came;
}

Registration::Registration(const char *name, void (*body)(), unsigned seconds, bool lasting)
{
	tests().push_back(Test{name, body, seconds, lasting});
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

void expect_equal(unsigned long long found, unsigned long long expected, const char *file, int line,
		  const char *text)
{
	if (found != expected)
		throw Failure("%s:%d: %s is %llu (%#llx), expected %llu (%#llx)", base_name(file), line,
			      text, found, found, expected, expected);
}

void expect_that(bool condition, const char *file, int line, const char *text)
{
	if (!condition)
		throw Failure("%s:%d: not true: %s", base_name(file), line, text);
}

void expect_contains(const std::string &text, const std::string &part, const char *file, int line)
{
	if (text.find(part) == std::string::npos)
		throw Failure("%s:%d: \"%s\" does not contain \"%s\"", base_name(file), line,
			      text.c_str(), part.c_str());
}

/* -- the payloads of the table ------------------------------------------------------------- */

/* What PAYLOAD() in payload.h leaves in its section. */
struct Payload {
	const char *name, *file, *why;
	const char *code;
	std::uint64_t flags;
};

extern "C" const Payload __start_payload_table[], __stop_payload_table[];

static void run_payload(const Payload &payload)
try {
	Guest guest;

	guest.start_at(payload.code);
	if (payload.flags & F_UNREGISTERED)
		guest.unregistered();

	Exit exit = guest.run();

	if (*payload.why) {
		if (exit.reason != LG_EXIT_KILLED)
			throw Failure("ended with reason %d, status %u; should have been killed", exit.reason,
				      exit.status);
		if (exit.text.find(payload.why) == std::string::npos)
			throw Failure("killed for another reason than \"%s\": %s", payload.why,
				      exit.text.c_str());
		return;
	}
	if (exit.reason == LG_EXIT_KILLED)
		throw Failure("killed at rip %#llx (text + %#llx): %s", exit.rip,
			      exit.rip - guest.direct() - GPA_TEXT, exit.text.c_str());
	if (exit.reason != LG_EXIT_SHUTDOWN || exit.status)
		throw Failure("ended with reason %d, status %u, bus address %#llx", exit.reason, exit.status,
			      exit.address);
} catch (const Failure &failure) {
	throw Failure("%s: %s", base_name(payload.file), failure.what());
}

/* -- running -------------------------------------------------------------------------------- */

/* In the child: 0, 1 or kSkipped; why goes to the parent by `report`. */
static int run_body(const Test &test, int report)
{
	struct sigaction action{};

	action.sa_handler = on_alarm;	/* no SA_RESTART */
	sigaction(SIGALRM, &action, nullptr);
	alarm(test.seconds);
	try {
		test.body();
		return 0;
	} catch (const Skip &skip) {
		dprintf(report, "%s", skip.what());
		return kSkipped;
	} catch (const std::exception &error) {
		dprintf(report, "%s", error.what());
		return 1;
	}
}

static std::string read_all(int fd)
{
	std::string text;
	char buffer[1024];
	ssize_t length;

	while ((length = read(fd, buffer, sizeof(buffer))) > 0)
		text.append(buffer, length);
	return text;
}

static bool run_test(const Test &test, unsigned number)
{
	int report[2], status;
	std::string name = test.name, why;

	for (char &c : name)
		if (c == '_')
			c = ' ';
	check_system(pipe(report), "pipe");
	fflush(stdout);

	pid_t child = fork();

	if (child == 0) {
		close(report[0]);
		/* Without destructors: a VM whose owner just goes is a case worth having. */
		_exit(run_body(test, report[1]));
	}
	close(report[1]);

	/* The report ends when the child does. */
	alarm(test.seconds + kGraceSeconds);
	why = read_all(report[0]);
	close(report[0]);
	if (alarm_came) {
		kill(child, SIGKILL);
		why += "killed by the runner: it did not even leave LG_RUN";
		alarm_came = 0;
	}
	alarm(0);
	waitpid(child, &status, 0);
	if (WIFSIGNALED(status) && why.empty())
		why = Failure("died by signal %d", WTERMSIG(status)).what();
	if (WIFEXITED(status) && WEXITSTATUS(status) == kSkipped) {
		printf("ok %u - %s # SKIP %s\n", number, name.c_str(), why.c_str());
		return true;
	}

	bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;

	if (!ok)
		printf("# %s\n", why.c_str());
	printf("%s %u - %s\n", ok ? "ok" : "not ok", number, name.c_str());
	return ok;
}

static bool chosen(const Test &test, bool quick, char *const *patterns)
{
	if (quick && test.lasting)
		return false;
	if (!*patterns)
		return true;
	for (; *patterns; patterns++)
		if (!fnmatch(*patterns, test.name.c_str(), 0))
			return true;
	return false;
}

static int main_program(char *const *patterns)
{
	std::vector<Test> all;
	unsigned number = 0, failed = 0;
	struct sigaction action{};
	bool quick = *patterns && !strcmp(*patterns, "--quick");

	patterns += quick;
	for (const Payload *payload = __start_payload_table; payload < __stop_payload_table; payload++)
		all.push_back(Test{payload->name, [payload] { run_payload(*payload); }, kPayloadSeconds,
				false});
	for (const Test &test : tests())
		all.push_back(test);
	if (on_debug_kernel())
		for (Test &test : all)
			test.seconds *= kDebugPatience;
	std::erase_if(all, [&](const Test &test) { return !chosen(test, quick, patterns); });

	action.sa_handler = on_alarm;
	sigaction(SIGALRM, &action, nullptr);
	printf("TAP version 13\n1..%zu\n", all.size());
	for (const Test &test : all)
		failed += !run_test(test, ++number);
	return failed ? 1 : 0;
}

} // namespace payloads

int main(int, char **argv)
{
	return payloads::main_program(argv + 1);
}
