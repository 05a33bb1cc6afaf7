// SPDX-License-Identifier: GPL-2.0-only
// `lguest run`, see run.h.
//
//     files --load--> guest memory --LG_SET_MEMORY_SLOT--> VM
//                                                          |
//     main thread: event loop        <--ended()--    one thread per vCPU
//       stdin, stdout, doorbells, signals              LG_RUN, bus accesses
#include "run.h"

#include "boot.h"
#include "bus.h"
#include "console_port.h"
#include "device_slot.h"
#include "error.h"
#include "guest_ram.h"
#include "initrd.h"
#include "kernel_image.h"
#include "module.h"
#include "stats.h"
#include "terminal.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <spdlog/spdlog.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
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

std::string installed(const char *variable, const char *name)
{
	if (const char *given = std::getenv(variable); given && *given)
		return given;
	std::error_code error;
	auto program = std::filesystem::read_symlink("/proc/self/exe", error);
	auto file = program.parent_path().parent_path() / "lib/lguest" / name;
	return std::filesystem::exists(file, error) ? file.string() : std::string{};
}

struct Files {
	KernelImage kernel;
	Bytes initrd;
};

Files load_files(const RunOptions &options)
{
	std::string kernel = options.kernel.empty() ? default_kernel() : options.kernel;
	if (kernel.empty())
		throw Error{"no kernel: give one with --kernel, or in the environment as LGUEST_KERNEL", exit_usage};
	std::string initrd = options.initrd;
	if (initrd.empty() && (options.kernel.empty() || !options.command.empty()))
		initrd = default_initrd();
	if (initrd.empty() && !options.command.empty())
		throw Error{"a command needs an initrd whose init runs it: give one with --initrd", exit_usage};

	Files files{load_kernel(kernel), initrd.empty() ? Bytes{} : read_file(initrd, "initrd")};
	if (!options.command.empty())
		append_command(files.initrd, options.command, isatty(STDIN_FILENO) && isatty(STDOUT_FILENO));
	spdlog::debug("kernel {}: {} KiB in memory, entry {:#x}, {} bytes of relocations", kernel,
		      (files.kernel.end - files.kernel.start) >> 10, files.kernel.entry, files.kernel.relocations.size());
	return files;
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

std::string command_line_for(const RunOptions &options)
{
	std::string line = options.append;
	if (line.find("console=") == std::string::npos)
		line = line.empty() ? "console=lg0" : "console=lg0 " + line;
	return line;
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

// Members are torn down in reverse order: the threads end before what they use.
class Machine {
public:
	explicit Machine(const RunOptions &options);
	Outcome run();

private:
	void watch_signals();
	void watch_resizes();
	void end(Outcome outcome);
	void report() const;

	const RunOptions &options_;
	asio::io_context loop_{1};
	asio::signal_set end_signals_{loop_, SIGINT, SIGTERM};
	asio::signal_set resize_signal_{loop_, SIGWINCH};
	std::optional<Module> module_;
	std::optional<GuestRam> ram_;
	std::optional<GuestMemory> memory_;
	std::optional<Vm> vm_;
	Bus bus_;
	std::optional<RawTerminal> raw_;
	std::optional<ConsolePort> port_;
	std::optional<Console> console_;
	std::optional<DeviceSlot> console_slot_;
	std::vector<std::unique_ptr<Vcpu>> vcpus_;
	std::vector<std::unique_ptr<VcpuThread>> threads_;
	std::optional<Outcome> outcome_;
};

Machine::Machine(const RunOptions &options) : options_{options}
{
	Files files = load_files(options);
	ram_.emplace(options.memory);
	memory_.emplace(ram_->bytes());
	module_.emplace();

	BootRequest request{files.kernel, files.initrd, command_line_for(options), {}, options.cpus};
	request.placement = choose_placement(options, *module_, files.kernel);
	lg_regs registers = prepare_boot(*memory_, request);

	vm_.emplace(module_->create_vm());
	vm_->set_memory(ram_->bytes());
	for (unsigned index = 0; index < options.cpus; index++)
		vcpus_.push_back(std::make_unique<Vcpu>(vm_->create_vcpu(index)));
	vcpus_.front()->set_registers(registers);

	ConsolePort::Settings settings;
	settings.terminal = isatty(STDIN_FILENO);
	if (settings.terminal && !RawTerminal::usable(STDIN_FILENO))
		settings.input = -1;	// in the background: reading would stop us
	settings.escape = [this] { end({Outcome::Kind::interrupted, 0, {}}); };
	bool interactive = settings.terminal && settings.input >= 0;
	port_.emplace(loop_, std::move(settings));
	console_.emplace(*port_);
	console_slot_.emplace(loop_, *memory_, *console_, bus_, &*vm_, "console");
	if (auto size = terminal_size(STDOUT_FILENO))
		console_->set_initial_size(size->columns, size->rows);
	watch_signals();
	if (interactive) {
		spdlog::info("Ctrl-] x ends the guest");
		raw_.emplace(STDIN_FILENO);
	}
	port_->start(console_slot_->registers(), *console_);
}

void Machine::watch_signals()
{
	std::signal(SIGPIPE, SIG_IGN);
	// nohup makes it ignored, and so it stays.
	struct sigaction hangup;
	if (sigaction(SIGHUP, nullptr, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
		end_signals_.add(SIGHUP);
	end_signals_.async_wait([this](boost::system::error_code error, int signal) {
		if (error)
			return;
		end({Outcome::Kind::interrupted, 128 + signal, {}});
		loop_.stop();	// whoever reads our output may not
	});
	watch_resizes();
}

void Machine::watch_resizes()
{
	resize_signal_.async_wait([this](boost::system::error_code error, int) {
		if (error)
			return;
		if (auto size = terminal_size(STDOUT_FILENO))
			port_->resize(*size);
		watch_resizes();
	});
}

void Machine::end(Outcome outcome)
{
	if (outcome_)
		return;
	outcome_ = std::move(outcome);
	for (auto &thread : threads_)
		thread->stop();
	port_->drain([this] { loop_.stop(); });
}

Outcome Machine::run()
{
	VcpuHooks hooks{bus_, write_early_text,
			[this](Outcome outcome) { asio::post(loop_, [this, outcome] { end(outcome); }); }};
	for (auto &vcpu : vcpus_)
		threads_.push_back(std::make_unique<VcpuThread>(*vcpu, hooks));
	loop_.run();
	threads_.clear();
	raw_.reset();
	report();
	return *outcome_;
}

void Machine::report() const
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
	if (!options_.stats_file.empty())
		write_stats_file(options_.stats_file, vm_->stats());
}

} // namespace

std::string default_kernel() { return installed("LGUEST_KERNEL", "vmlinux"); }
std::string default_initrd() { return installed("LGUEST_INITRD", "initramfs.cpio"); }

Outcome run_guest(const RunOptions &options)
{
	return Machine{options}.run();
}

} // namespace lguest
