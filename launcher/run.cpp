// SPDX-License-Identifier: GPL-2.0-only
// `lguest run`, see run.h.
//
//     files --load--> guest memory --LG_SET_MEMORY_SLOT--> VM
//                                                          |
//     main thread: event loop        <--ended()--    one thread per vCPU
//       stdin, stdout, doorbells, signals              LG_RUN, bus accesses
#include "run.h"

#include "attachment.h"
#include "background.h"
#include "balloon_host.h"
#include "boot.h"
#include "bus.h"
#include "console_port.h"
#include "console_relay.h"
#include "console_targets.h"
#include "control_server.h"
#include "control_socket.h"
#include "descriptor_reserve.h"
#include "device_slot.h"
#include "disk.h"
#include "error.h"
#include "footprint.h"
#include "guest_files.h"
#include "guest_ram.h"
#include "guest_statistics.h"
#include "initrd.h"
#include "kernel_image.h"
#include "module.h"
#include "net_card.h"
#include "private_directory.h"
#include "rng.h"
#include "sandbox.h"
#include "share.h"
#include "shutdown.h"
#include "stats.h"
#include "terminal.h"
#include "vhost_user_kinds.h"
#include "vsock.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/json/array.hpp>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <fstream>
#include <memory>
#include <optional>
#include <unistd.h>

namespace lguest {
namespace {

namespace asio = boost::asio;

// The kernel's messages, raw.  Gives up only when there is nobody to read them.
void write_early_text(std::span<const char> text)
{
	while (!text.empty()) {
		ssize_t done = ::write(STDERR_FILENO, text.data(), text.size());
		if (done < 0)
			return;		// EINTR too: the launcher is stopping
		text = text.subspan(static_cast<std::size_t>(done));
	}
}

Placement choose_placement(const RunOptions &options, const Module &module, const KernelImage &kernel)
{
	if (options.placement == PlacementMode::none)
		return {};
	auto windows = module.host_windows();
	for (const Window &window : windows)
		spdlog::debug("the host uses {:#x} to {:#x}", window.start, window.end);
	PlacementResult result = place(windows, {options.memory, kernel.start, kernel.end, !kernel.relocations.empty()});
	if (!result.overlap.empty())
		spdlog::info("no room beside the host for: {}; the guest will be slower", result.overlap);
	spdlog::debug("text moved by {:#x}, direct map at {:#x}, vmalloc {:#x}, vmemmap {:#x}, modules {:#x}, fixmap {:#x}",
		      result.placement.text_offset, result.placement.page_offset_base, result.placement.vmalloc_base,
		      result.placement.vmemmap_base, result.placement.modules_vaddr, result.placement.fixmap_top);
	return result.placement;
}

// Where a vCPU was when it ended: the first question about a guest that hangs.
void log_registers(const lg_regs &r)
{
	spdlog::debug("vCPU in {} mode{}: rip {:#x} rsp {:#x} rflags {:#x} cr3 {:#x} gs {:#x}", r.user_mode ? "user" : "kernel",
		      r.halted ? ", halted" : "", r.rip, r.rsp, r.rflags, r.cr3, r.gs_base);
	spdlog::debug("rax {:#x} rbx {:#x} rcx {:#x} rdx {:#x} rsi {:#x} rdi {:#x} rbp {:#x} r8 {:#x} r9 {:#x} r10 {:#x} r11 {:#x} "
		      "r12 {:#x} r13 {:#x} r14 {:#x} r15 {:#x}",
		      r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp, r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15);
}

// What nobody asked for by name should say how to do without.
std::unique_ptr<Attachment> attach_host_root(const MachineParts &machine, std::function<void()> lost)
{
	try {
		return attach_share(machine, host_root_share(), std::move(lost));
	} catch (const Error &error) {
		fail("{}; lguest run --root initrd does without", error.what());
	}
}

// Members are torn down in reverse order: the threads end before what they use.
class Machine final : public ControlTarget {
public:
	explicit Machine(const RunOptions &options);
	Outcome run(Background &background);

	// ControlTarget
	boost::json::object status() override;
	boost::json::object statistics() override;
	double stop(std::optional<double> grace) override;
	void kill() override;
	void pause() override;
	void resume() override;
	void set_balloon(std::uint64_t bytes) override;
	bool has_console() override { return relay_.has_value(); }

private:
	void open_control_socket();
	void enter_sandbox();
	void take_signal(int signal);
	void force();
	void ask_for_shutdown();
	void end_at_once(int status);
	void make_console();
	void attach_devices();
	ConsolePort &add_port(ConsolePort::Settings settings);
	void drain_ports(std::size_t next);
	void drain_devices(std::size_t next);
	void watch_signals();
	void wait_for_signal();
	void watch_resizes();
	void end(Outcome outcome);
	void lose_root();
	void keep_for_reboot();
	void report();

	const RunOptions &options_;
	asio::io_context loop_{1};
	std::string name_;
	const std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
	asio::signal_set end_signals_{loop_, SIGINT, SIGTERM};
	asio::signal_set resize_signal_{loop_, SIGWINCH};
	std::optional<Module> module_;
	std::optional<GuestRam> ram_;
	std::optional<GuestMemory> memory_;
	std::optional<Vm> vm_;
	Bus bus_;
	std::optional<RawTerminal> raw_;
	std::optional<ConsoleRelay> relay_;
	std::vector<std::unique_ptr<ConsolePort>> ports_;	// by number
	bool console_is_stdio_ = false;
	std::optional<Console> console_;
	std::optional<DeviceSlot> console_slot_;
	std::vector<std::unique_ptr<Attachment>> attachments_;
	std::optional<ControlSocket> control_socket_;
	std::optional<ControlServer> control_;
	std::ofstream stats_file_;
	Shutdown shutdown_{loop_, {[this] { ask_for_shutdown(); }, [this] { force(); }}};
	std::atomic<bool> shutdown_taken_ = false;
	int end_signal_ = 0;		// which one asked for the shutdown
	bool paused_ = false;
	std::vector<std::unique_ptr<Vcpu>> vcpus_;
	std::vector<std::unique_ptr<VcpuThread>> threads_;
	std::optional<Outcome> outcome_;
};

Machine::Machine(const RunOptions &options)
	: options_{options}, name_{options.name.empty() ? default_guest_name() : options.name}
{
	open_control_socket();
	GuestFiles files = load_files(options);
	spdlog::debug("kernel: {} KiB in memory, entry {:#x}, {} bytes of relocations",
		      (files.kernel.end - files.kernel.start) >> 10, files.kernel.entry, files.kernel.relocations.size());
	ram_.emplace(options.memory);
	memory_.emplace(ram_->bytes());
	module_.emplace();

	BootRequest request{files.kernel, files.initrd, files.command_line, {}, options.cpus};
	request.placement = choose_placement(options, *module_, files.kernel);
	lg_regs registers = prepare_boot(*memory_, request);

	vm_.emplace(module_->create_vm());
	vm_->set_memory(ram_->bytes());
	for (unsigned index = 0; index < options.cpus; index++)
		vcpus_.push_back(std::make_unique<Vcpu>(vm_->create_vcpu(index)));
	vcpus_.front()->set_registers(registers);

	make_console();
	attach_devices();
	if (!options.stats_file.empty())
		stats_file_ = open_stats_file(options.stats_file);
	if (control_socket_)
		control_.emplace(loop_, control_socket_->fd(), *this, relay_ ? &*relay_ : nullptr);
	watch_signals();
}

// First of all: of two guests of one name the second should not even open its disks.
void Machine::open_control_socket()
{
	try {
		control_socket_.emplace(private_directory(), name_);
	} catch (const Error &error) {
		if (!options_.name.empty() || options_.detach)
			throw;
		spdlog::warn("{}; lguest list will not show this guest", error.what());
	}
}

void Machine::attach_devices()
{
	MachineParts parts{loop_, *ram_, *memory_, bus_, &*vm_};
	if (options_.balloon)
		attachments_.push_back(attach_balloon(parts, *options_.balloon));
	for (std::size_t index = 0; index < options_.nets.size(); index++)
		attachments_.push_back(attach_net(parts, options_.nets[index], options_.name, index));
	for (const DiskOptions &disk : options_.disks)
		attachments_.push_back(attach_disk(parts, disk, static_cast<unsigned>(&disk - options_.disks.data())));
	if (options_.rng)
		attachments_.push_back(attach_rng(parts, *options_.rng));
	if (has_host_root(options_))
		attachments_.push_back(attach_host_root(parts, [this] { lose_root(); }));
	for (const ShareOptions &share : options_.shares)
		attachments_.push_back(attach_share(parts, share));
	for (unsigned index = 0; index < options_.vhost_user.size(); index++)
		attachments_.push_back(attach_vhost_user(parts, options_.vhost_user[index], index));
	if (options_.vsock)
		attachments_.push_back(attach_vsock(parts, *options_.vsock));
}

ConsolePort &Machine::add_port(ConsolePort::Settings settings)
{
	settings.port = static_cast<unsigned>(ports_.size());
	ports_.push_back(std::make_unique<ConsolePort>(loop_, std::move(settings)));
	return *ports_.back();
}

void Machine::make_console()
{
	std::signal(SIGTTIN, SIG_IGN);		// in the background we go on, without what is typed (console_port.h)
	bool ports = command_has_ports(options_);
	console_is_stdio_ = !ports && !options_.detach && console_is_stdio(options_.consoles);
	bool interactive = console_is_stdio_ && RawTerminal::usable(STDIN_FILENO);
	ConsolePort::Settings settings;
	settings.output = console_is_stdio_ ? STDOUT_FILENO : STDERR_FILENO;
	settings.terminal = interactive;
	// A terminal whose background we are in cannot be made raw: it is no input for a console, then and later.
	if (console_is_stdio_ && (interactive || !isatty(STDIN_FILENO)))
		settings.input = STDIN_FILENO;
	if (options_.detach) {
		relay_.emplace(loop_);
		settings.input = settings.output = relay_->guest_end();
	}
	settings.escape = [this] { end({Outcome::Kind::interrupted, 0, {}}); };
	for (const ConsoleOptions &console : options_.consoles)
		if (console.port.empty() && console.to != ConsoleOptions::To::stdio)
			settings = console_target(loop_, console);
	console_.emplace(add_port(std::move(settings)));
	if (ports) {
		console_->add_port(add_port({.input = STDIN_FILENO}), stdio_ports[0]);
		// What ends a process that writes to nobody ends the command with its guest.
		auto broken = [this] { end({Outcome::Kind::interrupted, 128 + SIGPIPE, {}}); };
		console_->add_port(add_port({.output = STDOUT_FILENO, .broken = broken}), stdio_ports[1]);
		console_->add_port(add_port({.output = STDERR_FILENO}), stdio_ports[2]);
	}
	for (const ConsoleOptions &console : options_.consoles)
		if (!console.port.empty())
			console_->add_port(add_port(console_target(loop_, console)), console.port);
	console_slot_.emplace(loop_, *memory_, *console_, bus_, &*vm_, "console");
	if (auto size = terminal_size(STDOUT_FILENO); size && console_is_stdio_)
		console_->set_initial_size(size->columns, size->rows);
	if (interactive) {
		spdlog::info("Ctrl-] x ends the guest");
		raw_.emplace(STDIN_FILENO);
	}
	for (auto &port : ports_)
		port->start(console_slot_->registers(), *console_);
}

void Machine::watch_signals()
{
	std::signal(SIGPIPE, SIG_IGN);
	// nohup makes it ignored, and so it stays.
	struct sigaction hangup;
	if (sigaction(SIGHUP, nullptr, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
		end_signals_.add(SIGHUP);
	wait_for_signal();
	watch_resizes();
}

void Machine::wait_for_signal()
{
	end_signals_.async_wait([this](boost::system::error_code error, int signal) {
		if (error)
			return;
		take_signal(signal);
		wait_for_signal();
	});
}

// ^C ends the guest.  TERM and HUP let it shut down, if they are not repeated.
void Machine::take_signal(int signal)
{
	if (signal == SIGINT) {
		end_at_once(128 + signal);
		return;
	}
	if (shutdown_.just_begun())
		return;
	end_signal_ = signal;
	if (shutdown_.begun())
		force();
	else
		stop(std::nullopt);
}

void Machine::watch_resizes()
{
	resize_signal_.async_wait([this](boost::system::error_code error, int) {
		if (error)
			return;
		if (auto size = terminal_size(STDOUT_FILENO); size && console_is_stdio_)
			ports_.front()->resize(*size);
		watch_resizes();
	});
}

// --- what others ask for ---------------------------------------------------------

boost::json::object Machine::status()
{
	auto uptime = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - begun_);
	const char *state = outcome_ ? "ending" : paused_ ? "paused" : shutdown_.begun() ? "stopping" : "running";
	return {{"name", name_},
		{"pid", getpid()},
		{"state", state},
		{"memory", options_.memory},
		{"vcpus", options_.cpus},
		{"uptime", uptime.count()}};
}

boost::json::object Machine::statistics()
{
	boost::json::array devices;
	for (unsigned slot = 0; slot < LG_BUS_SLOTS; slot++)
		if (RegisterFile *device = bus_.device(slot))
			devices.push_back(device_statistics(bus_.name(slot), *device));
	ResidentMemory resident = resident_memory();
	boost::json::object statistics{{"guest", status()},
				       {"launcher", {{"resident", resident.own}, {"resident_guest", resident.shared}}},
				       {"module", module_statistics(vm_->stats())},
				       {"devices", std::move(devices)}};
	for (auto &attachment : attachments_)
		if (BalloonControl *balloon = attachment->balloon()) {
			boost::json::object memory{{"size", balloon->actual()}};
			for (const auto &[name, bytes] : balloon->stats())
				memory[name] = bytes;
			statistics["balloon"] = std::move(memory);
		}
	return statistics;
}

double Machine::stop(std::optional<double> grace)
{
	double seconds = grace.value_or(options_.grace);
	if (paused_ && seconds > 0)
		resume();
	shutdown_.begin(std::chrono::milliseconds{static_cast<std::int64_t>(1000 * seconds)});
	return seconds;
}

void Machine::ask_for_shutdown()
{
	spdlog::info("asking the guest to shut down");
	vm_->interrupt(0, LG_VECTOR_SHUTDOWN);
}

// The guest had its time, or nobody wants to give it any.
void Machine::force()
{
	if (!outcome_)
		spdlog::warn("the guest {}: ended", shutdown_taken_ ? "does not shut down in time" : "does not react");
	end_at_once(128 + (end_signal_ ? end_signal_ : SIGTERM));
}

// After the reply is out.
void Machine::kill()
{
	asio::post(loop_, [this] { end_at_once(128 + SIGKILL); });
}

void Machine::end_at_once(int status)
{
	end({Outcome::Kind::interrupted, status, {}});
	loop_.stop();	// whoever reads our output may not
}

void Machine::pause()
{
	if (paused_ || outcome_)
		fail("it {} already", paused_ ? "is paused" : "has ended");
	paused_ = true;
	for (auto &thread : threads_)
		thread->pause();
}

void Machine::resume()
{
	if (!paused_)
		fail("it is not paused");
	paused_ = false;
	for (unsigned index = 0; index < threads_.size(); index++) {
		vm_->interrupt(index, LG_VECTOR_RESUMED);
		threads_[index]->resume();
	}
}

void Machine::set_balloon(std::uint64_t bytes)
{
	for (auto &attachment : attachments_)
		if (BalloonControl *balloon = attachment->balloon()) {
			balloon->set_size(bytes);
			return;
		}
	fail("this guest has no balloon: start it with --balloon");
}

// --- the end -----------------------------------------------------------------------

void Machine::end(Outcome outcome)
{
	if (outcome_)
		return;
	outcome_ = std::move(outcome);
	// What a signal asked for is reported as that signal's doing, and starts no new life.
	if (end_signal_ && outcome_->kind == Outcome::Kind::shutdown)
		outcome_->status = 128 + end_signal_;
	if (shutdown_.begun() && outcome_->kind == Outcome::Kind::reboot)
		outcome_ = {Outcome::Kind::shutdown, end_signal_ ? 128 + end_signal_ : 0, {}};
	for (auto &thread : threads_)
		thread->stop();
	drain_ports(0);
}

// Without it nothing in the guest can go on, and all that touches it waits for ever.
void Machine::lose_root()
{
	end({Outcome::Kind::failed, exit_failure, "the guest has lost its view of the host's files: ended"});
}

// All that the guest has sent goes out before the launcher ends, one after another.
void Machine::drain_ports(std::size_t next)
{
	if (next == ports_.size())
		drain_devices(0);
	else
		ports_[next]->drain([this, next] { drain_ports(next + 1); });
}

void Machine::drain_devices(std::size_t next)
{
	if (next == attachments_.size())
		loop_.stop();
	else
		attachments_[next]->drain([this, next] { drain_devices(next + 1); });
}

void Machine::enter_sandbox()
{
	SandboxRequest request;
	if (control_socket_)
		request.needs.directories.push_back(private_directory());
	for (const ConsoleOptions &console : options_.consoles)
		if (console.to == ConsoleOptions::To::socket)
			request.needs.sockets.push_back(console.path);
	for (const auto &attachment : attachments_)
		attachment->add_needs(request.needs);
	request.reboot = options_.reboot;
	request.files = files_read(options_);
	lguest::enter_sandbox(request);
}

Outcome Machine::run(Background &background)
{
	VcpuHooks hooks{bus_, write_early_text,
			[this](Outcome outcome) { asio::post(loop_, [this, outcome] { end(outcome); }); },
			[this] {
				// Once, however often the guest says it.
				if (!shutdown_taken_.exchange(true))
					asio::post(loop_, [this] { shutdown_.taken(); });
			}};
	if (relay_)
		hooks.early_text = [this](std::span<const char> text) { relay_->early_text(text); };
	background.ready();
	if (options_.sandbox)
		enter_sandbox();
	for (auto &vcpu : vcpus_)
		threads_.push_back(std::make_unique<VcpuThread>(*vcpu, hooks));
	DescriptorReserve reserve;
	shed_setup_pages();
	loop_.run();
	threads_.clear();
	raw_.reset();
	report();
	if (outcome_->kind == Outcome::Kind::reboot && options_.reboot)
		keep_for_reboot();
	return *outcome_;
}

void Machine::keep_for_reboot()
{
	if (control_socket_)
		control_socket_->keep_for_reboot();
	for (auto &attachment : attachments_)
		attachment->keep_for_reboot();
}

void Machine::report()
{
	std::string text = outcome_->text;
	while (!text.empty() && text.back() == '\n')
		text.pop_back();
	switch (outcome_->kind) {
	case Outcome::Kind::panic:
		spdlog::error("guest panicked: {}", text);
		break;
	case Outcome::Kind::killed:
		spdlog::error("guest killed: {}", text);
		break;
	case Outcome::Kind::failed:
		spdlog::error("{}", text);
		break;
	default:
		break;
	}
	if (options_.verbose && outcome_->kind != Outcome::Kind::shutdown)
		for (const auto &vcpu : vcpus_)
			log_registers(vcpu->registers());
	if (options_.stats)
		fmt::print(stderr, "{}", stats_text(vm_->stats()));
	if (stats_file_.is_open())
		write_stats_file(stats_file_, options_.stats_file, vm_->stats());
}

} // namespace

Outcome run_guest(const RunOptions &options)
{
	Background background;
	if (options.detach)
		background.enter(options.name);
	return Machine{options}.run(background);
}

} // namespace lguest
