// SPDX-License-Identifier: GPL-2.0-only
// Disks in the launcher: options, images and their locks, snapshots against a model, both
// engines on real files, and all of it together in an event loop.
#include "complaint.h"

#include "virtio_fake_driver.h"

#include "block.h"
#include "config_file.h"
#include "disk.h"
#include "disk_engine.h"
#include "options.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

#include <csignal>
#include <fcntl.h>
#include <fstream>
#include <linux/virtio_blk.h>
#include <poll.h>
#include <random>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace lguest::test {
namespace {

using Kind = BlockRequest::Kind;

// A file with random bytes, gone at the end.
class TempFile {
public:
	explicit TempFile(std::size_t size, const std::string &folder = testing::TempDir()) : path_{folder + "/lguest-disk.XXXXXX"}
	{
		fd_ = Descriptor{mkstemp(path_.data())};
		std::minstd_rand random{1};
		std::string bytes(size, 0);
		for (char &byte : bytes)
			byte = static_cast<char>(random());
		EXPECT_EQ(pwrite(fd_.get(), bytes.data(), size, 0), static_cast<ssize_t>(size));
	}
	~TempFile() { unlink(path_.c_str()); }
	const std::string &path() const { return path_; }
	int fd() const { return fd_.get(); }
	std::string contents() const
	{
		struct stat status;
		fstat(fd(), &status);
		std::string bytes(static_cast<std::size_t>(status.st_size), 0);
		EXPECT_EQ(pread(fd(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
		return bytes;
	}
	std::uint64_t space() const
	{
		struct stat status;
		fstat(fd(), &status);
		return static_cast<std::uint64_t>(status.st_blocks) * 512;
	}

private:
	std::string path_;
	Descriptor fd_;
};

DiskOptions options_for(const TempFile &file)
{
	DiskOptions options;
	options.path = file.path();
	return options;
}

// --- options ---------------------------------------------------------------------

DiskOptions parse(std::string_view text)
{
	KeyedOptions options = KeyedOptions::from_text("--disk", text);
	DiskOptions disk = read_disk_options(options);
	options.finish();
	return disk;
}

TEST(DiskOptions, AreRead)
{
	DiskOptions disk = parse("path=a.img,snapshot,serial=S-1,block-size=4096,direct,queues=4,aio=threads,id=root");
	EXPECT_EQ(disk.path, "a.img");
	EXPECT_TRUE(disk.snapshot);
	EXPECT_TRUE(disk.direct);
	EXPECT_FALSE(disk.read_only);
	EXPECT_EQ(disk.serial, "S-1");
	EXPECT_EQ(disk.block_size, 4096u);
	EXPECT_EQ(disk.queues, 4u);
	EXPECT_EQ(disk.aio, DiskOptions::Aio::threads);
	EXPECT_EQ(disk.id, "root");
	EXPECT_TRUE(parse("path=b,ro").read_only);
	EXPECT_EQ(parse("path=b").block_size, 512u);
}

TEST(DiskOptions, AreChecked)
{
	EXPECT_EQ(complaint([] { parse("ro"); }), "--disk path: must be given");
	EXPECT_EQ(complaint([] { parse("path=a,ro,snapshot"); }), "--disk snapshot: not with ro: a disk that is only read needs none");
	EXPECT_EQ(complaint([] { parse("path=a,serial=123456789012345678901"); }),
		  "--disk serial: '123456789012345678901' is longer than 20 characters");
	EXPECT_EQ(complaint([] { parse("path=a,serial=a b"); }), "--disk serial: only letters, digits and punctuation can be in it");
	EXPECT_EQ(complaint([] { parse("path=a,block-size=1024"); }), "--disk block-size: '1024' is not one of 512, 4096");
	EXPECT_EQ(complaint([] { parse("path=a,queues=17"); }), "--disk queues: '17' is not a number from 1 to 16");
	EXPECT_EQ(complaint([] { parse("path=a,aio=native"); }), "--disk aio: 'native' is not one of auto, io_uring, threads");
	EXPECT_NE(complaint([] { parse("path=a,cache=none"); }).find("--disk cache: not known; there are"), std::string::npos);
}

TEST(DiskOptions, CanBeRepeated)
{
	const char *words[] = {"lguest", "run", "--disk", "path=a", "--disk", "path=b,ro"};
	auto run = std::get<RunOptions>(parse_command_line(6, words));
	ASSERT_EQ(run.disks.size(), 2u);
	EXPECT_EQ(run.disks[0].path, "a");
	EXPECT_TRUE(run.disks[1].read_only);
}

TEST(DiskOptions, NamesAreUnique)
{
	auto both = [](const char *first, const char *second) {
		const char *words[] = {"lguest", "run", "--disk", first, "--disk", second};
		return complaint([&] { parse_command_line(6, words); });
	};
	EXPECT_EQ(both("path=a,id=x", "path=b,id=x"), "--disk id: 'x' is another disk's");
	EXPECT_EQ(both("path=a,id=disk1", "path=b"), "--disk id: 'disk1' is another disk's");
	EXPECT_EQ(both("path=a,id=x", "path=b,id=y"), "no complaint");
}

// --- images ----------------------------------------------------------------------

TEST(DiskImage, SaysWhatIsWrong)
{
	auto open = [](const std::string &path) {
		DiskOptions options;
		options.path = path;
		return complaint([&] { DiskImage{options}; });
	};
	EXPECT_EQ(open("/nonexistent/disk"), "disk /nonexistent/disk: No such file or directory");
	EXPECT_EQ(open("/"), "disk /: neither a file nor a block device");
	EXPECT_EQ(open("/dev/null"), "disk /dev/null: neither a file nor a block device");
	TempFile empty{0};
	EXPECT_EQ(open(empty.path()), fmt::format("disk {0}: it is empty; give it a size: truncate -s 1G {0}", empty.path()));
}

TEST(DiskImage, LeavesOutAnIncompleteBlock)
{
	TempFile file{3 * 4096 + 512 + 7};
	DiskOptions options = options_for(file);
	EXPECT_EQ(DiskImage{options}.size(), 3u * 4096 + 512);
	options.block_size = 4096;
	EXPECT_EQ(DiskImage{options}.size(), 3u * 4096);
}

TEST(DiskImage, HasOneWriterOrManyReaders)
{
	TempFile file{4096};
	DiskOptions writer = options_for(file), reader = writer, snapshot = writer;
	reader.read_only = true;
	snapshot.snapshot = true;
	{
		DiskImage one{writer};
		EXPECT_NE(complaint([&] { DiskImage{writer}; }).find("in use, probably another guest"), std::string::npos);
		EXPECT_NE(complaint([&] { DiskImage{reader}; }).find("being written, probably another guest"), std::string::npos);
		EXPECT_NE(complaint([&] { DiskImage{snapshot}; }).find("being written"), std::string::npos);
	}
	DiskImage one{reader}, two{snapshot}, three{snapshot};
	EXPECT_NE(complaint([&] { DiskImage{writer}; }).find("in use"), std::string::npos);
}

TEST(DiskImage, AdvisesAboutPermissions)
{
	if (geteuid() == 0)
		GTEST_SKIP() << "root may do everything";
	TempFile file{4096};
	fchmod(file.fd(), 0400);
	EXPECT_NE(complaint([&] { DiskImage{options_for(file)}; }).find("add ro or snapshot"), std::string::npos);
}

// --- overlay ---------------------------------------------------------------------

TEST(DiskOverlay, KnowsItsBlocks)
{
	constexpr std::uint64_t blocks = 1000, size = 512;
	std::mt19937 random{7};
	for (unsigned round = 0; round < 20; round++) {
		DiskOverlay overlay{blocks * size, size};
		std::vector<bool> model(blocks);
		for (unsigned step = 0; step < 200; step++) {
			std::uint64_t first = random() % blocks, count = 1 + random() % std::min<std::uint64_t>(blocks - first, round % 2 ? 5 : 300);
			if (step % 3 == 0) {
				overlay.add(first * size, count * size);
				std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(first), count, true);
				continue;
			}
			std::uint64_t same = 1;
			while (same < count && model[first + same] == model[first])
				same++;
			ASSERT_EQ(overlay.holds(first * size), model[first]);
			ASSERT_EQ(overlay.run(first * size, count * size), same * size);
			// From within a block, too.
			ASSERT_EQ(overlay.run(first * size + 100, count * size - 100), same * size - 100);
		}
	}
}

TEST(DiskOverlay, OutlivesAReboot)
{
	constexpr std::uint64_t size = 64 << 10;
	{
		DiskOverlay before{size, 512, "disk"};
		ASSERT_EQ(pwrite(before.fd(), "kept", 4, 1024), 4);
		before.add(1024, 512);
		before.keep_for_reboot("disk");
	}
	{
		DiskOverlay after{size, 512, "disk"};
		char bytes[5]{};
		EXPECT_TRUE(after.holds(1024));
		EXPECT_FALSE(after.holds(512));
		EXPECT_EQ(pread(after.fd(), bytes, 4, 1024), 4);
		EXPECT_STREQ(bytes, "kept");
		after.keep_for_reboot("disk");
	}
	EXPECT_NE(complaint([] { DiskOverlay{2 * size, 512, "disk"}; }).find("another size"), std::string::npos);
	EXPECT_FALSE((DiskOverlay{size, 512, "disk"}.holds(1024)));	// only the next one gets it
}

// --- engines ---------------------------------------------------------------------

enum class EngineKind { uring, in_memory, threads };

std::string name_of(EngineKind kind)
{
	return kind == EngineKind::uring ? "Uring" : kind == EngineKind::in_memory ? "InMemory" : "Threads";
}

class Engine : public testing::TestWithParam<EngineKind> {
protected:
	static constexpr std::size_t disk_size = 1 << 20;

	void open(const DiskOptions &options)
	{
		engine.reset();
		image.emplace(options);
		engine = GetParam() == EngineKind::threads ? make_thread_engine(*image, event.get(), 3)
							    : make_uring_engine(*image, event.get(), 64);
		if (!engine)
			GTEST_SKIP() << "no io_uring here";
	}
	BlockRequest request(Kind kind, std::uint64_t offset, std::uint64_t length, std::vector<iovec> buffers = {})
	{
		BlockRequest request;
		request.kind = kind;
		request.offset = offset;
		request.length = length;
		request.buffers = std::move(buffers);
		return request;
	}
	static iovec all_of(std::string &bytes) { return {bytes.data(), bytes.size()}; }

	// Until as many have finished: as the event loop does.
	void turn_until(std::size_t count)
	{
		engine->turn([&](BlockRequest &request, int error) { results.emplace_back(&request, error); });
		while (results.size() < count) {
			pollfd wait{event.get(), POLLIN, 0};
			ASSERT_EQ(poll(&wait, 1, 60'000), 1) << "no event";
			eventfd_t ignored;
			eventfd_read(event.get(), &ignored);
			engine->turn([&](BlockRequest &request, int error) { results.emplace_back(&request, error); });
		}
	}
	int run(BlockRequest &request)
	{
		results.clear();
		request.position = 0;
		engine->start(request);
		turn_until(1);
		EXPECT_EQ(results.size(), 1u);
		EXPECT_TRUE(engine->idle());
		return results.empty() ? -1 : results[0].second;
	}
	int run(Kind kind, std::uint64_t offset, std::uint64_t length, std::vector<iovec> buffers = {})
	{
		BlockRequest one = request(kind, offset, length, std::move(buffers));
		return run(one);
	}
	int write(std::uint64_t offset, std::string bytes) { return run(Kind::write, offset, bytes.size(), {all_of(bytes)}); }
	std::string read(std::uint64_t offset, std::size_t size)
	{
		std::string bytes(size, '?');
		EXPECT_EQ(run(Kind::read, offset, size, {all_of(bytes)}), 0);
		return bytes;
	}

	TempFile file{disk_size, GetParam() == EngineKind::in_memory ? "/dev/shm" : testing::TempDir()};
	Descriptor event = new_eventfd();
	std::optional<DiskImage> image;
	std::unique_ptr<DiskEngine> engine;
	std::vector<std::pair<BlockRequest *, int>> results;
};

TEST_P(Engine, ReadsAndWrites)
{
	open(options_for(file));
	std::string before = file.contents();
	EXPECT_EQ(read(4096, 8192), before.substr(4096, 8192));
	EXPECT_EQ(write(512, std::string(1024, 'w')), 0);
	EXPECT_EQ(run(Kind::flush, 0, 0), 0);
	EXPECT_EQ(file.contents(), before.replace(512, 1024, 1024, 'w'));

	std::string one(100, 0), two(412, 0);
	EXPECT_EQ(run(Kind::read, 512, 512, {all_of(one), all_of(two)}), 0);
	EXPECT_EQ(one + two, std::string(512, 'w'));
}

TEST_P(Engine, WritesDurably)
{
	open(options_for(file));
	std::string bytes(4096, 'd');
	for (Kind kind : {Kind::write, Kind::discard, Kind::write_zeroes}) {
		BlockRequest one = request(kind, 0, 4096, {all_of(bytes)});
		one.durable = true;
		EXPECT_EQ(run(one), 0);
	}
}

TEST_P(Engine, HasManyUnderWay)
{
	open(options_for(file));
	constexpr std::size_t count = 64, size = 4096;
	std::vector<std::string> bytes(count);
	std::vector<BlockRequest> requests;
	for (unsigned round = 0; round < 10; round++) {
		requests.clear();
		for (std::size_t index = 0; index < count; index++) {
			bytes[index] = std::string(size, static_cast<char>(round + index));
			requests.push_back(request(Kind::write, index * size, size, {all_of(bytes[index])}));
		}
		results.clear();
		for (BlockRequest &one : requests)
			engine->start(one);
		turn_until(count);
		ASSERT_EQ(results.size(), count);
		for (auto &[one, error] : results)
			EXPECT_EQ(error, 0);
	}
	std::string all = file.contents();
	for (std::size_t index = 0; index < count; index++)
		EXPECT_EQ(all[index * size + 5], static_cast<char>(9 + index));
}

TEST_P(Engine, AFileThatShrankIsAnError)
{
	open(options_for(file));
	ASSERT_EQ(ftruncate(file.fd(), disk_size / 2), 0);
	std::string bytes(8192, 0);
	EXPECT_EQ(run(Kind::read, disk_size - 8192, 8192, {all_of(bytes)}), EIO);
	EXPECT_EQ(run(Kind::read, disk_size / 2 - 4096, 8192, {all_of(bytes)}), EIO);
	EXPECT_EQ(read(disk_size / 2 - 4096, 4096).size(), 4096u);
}

TEST_P(Engine, AFileThatCannotGrowIsAnError)
{
	open(options_for(file));
	std::signal(SIGXFSZ, SIG_IGN);
	rlimit before;
	getrlimit(RLIMIT_FSIZE, &before);
	rlimit limit{disk_size / 2, before.rlim_max};
	ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
	EXPECT_EQ(write(disk_size - 4096, std::string(4096, 'x')), EFBIG);
	// A write that begins below the limit is done in part, then fails.
	EXPECT_EQ(write(disk_size / 2 - 4096, std::string(8192, 'x')), EFBIG);
	setrlimit(RLIMIT_FSIZE, &before);
	EXPECT_EQ(write(disk_size - 4096, std::string(4096, 'x')), 0);
}

TEST_P(Engine, AReadOnlyFileCannotBeWritten)
{
	DiskOptions options = options_for(file);
	options.read_only = true;
	open(options);
	EXPECT_EQ(write(0, std::string(512, 'x')), EBADF);
	EXPECT_EQ(run(Kind::flush, 0, 0), 0);
}

TEST_P(Engine, DiscardsPunchHoles)
{
	open(options_for(file));
	std::uint64_t before = file.space();
	EXPECT_EQ(run(Kind::discard, disk_size / 2, disk_size / 2), 0);
	EXPECT_LE(file.space(), before - disk_size / 2);
	EXPECT_EQ(read(disk_size - 512, 512), std::string(512, '\0'));
}

TEST_P(Engine, WritesZeroes)
{
	open(options_for(file));
	std::string before = file.contents();
	EXPECT_EQ(run(Kind::write_zeroes, 512, 200 << 10), 0);
	BlockRequest hole = request(Kind::write_zeroes, disk_size / 2, disk_size / 4);
	hole.unmap = true;
	EXPECT_EQ(run(hole), 0);
	before.replace(512, 200 << 10, 200 << 10, '\0').replace(disk_size / 2, disk_size / 4, disk_size / 4, '\0');
	EXPECT_EQ(file.contents(), before);
}

TEST_P(Engine, CancelLetsGoOfMemory)
{
	open(options_for(file));
	constexpr std::size_t size = 64 << 10;
	for (unsigned round = 0; round < 20; round++) {
		std::vector<std::string> bytes(16, std::string(size, '?'));
		std::vector<BlockRequest> requests;
		for (std::string &one : bytes)
			requests.push_back(request(Kind::read, 0, size, {all_of(one)}));
		requests.push_back(request(Kind::discard, disk_size - 4096, 4096));
		requests.push_back(request(Kind::flush, 0, 0));
		for (BlockRequest &one : requests)
			engine->start(one);
		if (round % 2)
			engine->turn([](BlockRequest &, int) {});
		engine->cancel();
		EXPECT_TRUE(engine->idle());
		auto then = bytes;
		engine->turn([](BlockRequest &, int) { ADD_FAILURE() << "reported after all"; });
		EXPECT_EQ(read(0, 512), file.contents().substr(0, 512));
		EXPECT_EQ(bytes, then);
	}
}

TEST_P(Engine, WorksDirectly)
{
	DiskOptions options = options_for(file);
	options.direct = true;
	options.block_size = 4096;
	std::string why = complaint([&] { DiskImage{options}; });
	if (why != "no complaint")
		GTEST_SKIP() << why;
	open(options);
	std::vector<std::uint64_t> space(2 * 4096 / 8 * 2);
	void *aligned = space.data();
	std::size_t room = space.size() * 8;
	ASSERT_TRUE(std::align(4096, 4096, aligned, room));
	std::memset(aligned, 'z', 4096);
	EXPECT_EQ(run(Kind::write, 4096, 4096, {{aligned, 4096}}), 0);
	EXPECT_EQ(run(Kind::write_zeroes, 8192, 4096), 0);
	EXPECT_EQ(run(Kind::flush, 0, 0), 0);
	EXPECT_EQ(file.contents().substr(4096, 4096), std::string(4096, 'z'));
}

// Any sequence of requests, several at a time, against a string of bytes.
TEST_P(Engine, ASnapshotIsAPrivateCopy)
{
	const std::string original = file.contents();
	for (std::uint32_t block : {512u, 4096u}) {
		DiskOptions options = options_for(file);
		options.snapshot = true;
		options.block_size = block;
		open(options);
		std::string model = original;
		std::mt19937 random{block};
		for (unsigned step = 0; step < 600; step++) {
			std::uint64_t blocks = disk_size / block, first = random() % blocks;
			std::uint64_t count = 1 + random() % std::min<std::uint64_t>(blocks - first, step % 10 ? 9 : 100);
			std::uint64_t offset = first * block, length = count * block;
			std::string bytes(length, static_cast<char>('a' + step % 26));
			// Cut into buffers of odd sizes.
			std::size_t cut = random() % length;
			std::vector<iovec> buffers{{bytes.data(), cut}, {bytes.data() + cut, length - cut}};
			switch (random() % 8) {
			case 0:
				ASSERT_EQ(run(Kind::discard, offset, length), 0);
				model.replace(offset, length, length, '\0');
				break;
			case 1:
				ASSERT_EQ(run(Kind::write_zeroes, offset, length), 0);
				model.replace(offset, length, length, '\0');
				break;
			case 2:
				ASSERT_EQ(run(Kind::flush, 0, 0), 0);
				break;
			case 3:
			case 4:
				ASSERT_EQ(run(Kind::write, offset, length, buffers), 0);
				model.replace(offset, length, bytes);
				break;
			default:
				ASSERT_EQ(run(Kind::read, offset, length, buffers), 0);
				ASSERT_EQ(bytes, model.substr(offset, length)) << "step " << step;
			}
		}
		ASSERT_EQ(read(0, disk_size), model);
		EXPECT_EQ(file.contents(), original);
	}
}

INSTANTIATE_TEST_SUITE_P(Disk, Engine, testing::Values(EngineKind::uring, EngineKind::in_memory, EngineKind::threads),
			 [](const auto &info) { return name_of(info.param); });

// --- all of it -------------------------------------------------------------------

// The launcher's disk in an event loop, with a fake driver at its registers.
class DiskInLoop : public testing::TestWithParam<DiskOptions::Aio> {
protected:
	static constexpr std::size_t disk_size = 1 << 20;

	void attach(DiskOptions options)
	{
		options.aio = GetParam();
		try {
			attachment = attach_disk({loop, ram, memory, bus, nullptr}, options, 0);
		} catch (const Error &error) {
			GTEST_SKIP() << error.what();
		}
		set(VIRTIO_MMIO_STATUS, 0);
		set(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
		set(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
		set(VIRTIO_MMIO_DRIVER_FEATURES, 1);	// VERSION_1
		set(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
		set(VIRTIO_MMIO_DRIVER_FEATURES, 1u << VIRTIO_BLK_F_FLUSH);
		set(VIRTIO_MMIO_STATUS, get(VIRTIO_MMIO_STATUS) | VIRTIO_CONFIG_S_FEATURES_OK);
		set(VIRTIO_MMIO_QUEUE_NUM, size);
		set(VIRTIO_MMIO_QUEUE_DESC_LOW, descriptors);
		set(VIRTIO_MMIO_QUEUE_AVAIL_LOW, available);
		set(VIRTIO_MMIO_QUEUE_USED_LOW, used);
		set(VIRTIO_MMIO_QUEUE_READY, 1);
		set(VIRTIO_MMIO_STATUS, get(VIRTIO_MMIO_STATUS) | VIRTIO_CONFIG_S_DRIVER_OK);
		submitted = 0;
		store<std::uint32_t>(available, 0);
		store<std::uint32_t>(used, 0);
	}
	std::uint32_t get(std::uint64_t offset) { return static_cast<std::uint32_t>(bus.read(offset, 4)); }
	void set(std::uint64_t offset, std::uint32_t value) { bus.write(offset, 4, value); }
	template <typename T>
	void store(std::uint64_t gpa, T value)
	{
		ASSERT_TRUE(memory.write(Gpa{gpa}, value));
	}
	std::uint16_t used_index() const
	{
		return std::atomic_ref{*reinterpret_cast<std::uint16_t *>(memory.range(Gpa{used + 2}, 2)->data())}.load();
	}

	// Request `index` has its descriptors, its header, its status and 4 KiB of data.
	std::uint64_t data(unsigned index) const { return 0x100000 + index * 0x1000u; }
	std::uint64_t status(unsigned index) const { return 0x20000 + index; }
	void send(unsigned index, std::uint32_t type, std::uint64_t sector)
	{
		std::uint64_t head = 0x10000 + index * 16;
		store(head, virtio_blk_outhdr{type, 0, sector});
		store<char>(status(index), 0x55);
		auto base = static_cast<std::uint16_t>(3 * index);
		auto next = [&](unsigned more) { return static_cast<std::uint16_t>(base + more); };
		std::uint16_t to_us = type == VIRTIO_BLK_T_IN ? ring::descriptor_write : 0;
		store(descriptors + 16u * base, ring::Descriptor{head, 16, ring::descriptor_next, next(1)});
		store(descriptors + 16u * next(1), ring::Descriptor{data(index), 4096, static_cast<std::uint16_t>(ring::descriptor_next | to_us), next(2)});
		store(descriptors + 16u * next(2), ring::Descriptor{status(index), 1, ring::descriptor_write, 0});
		store<std::uint16_t>(available + 4 + 2u * (submitted % size), base);
		store<std::uint16_t>(available + 2, ++submitted);
	}
	void notify() { bus.doorbell(0, 0); }
	void run_until_used(std::uint16_t index)
	{
		while (used_index() != index)
			ASSERT_GT(loop.run_one_for(std::chrono::seconds{60}), 0u) << "nothing happens";
	}

	static constexpr std::uint16_t size = 64;
	static constexpr std::uint32_t descriptors = 0x1000, available = 0x2000, used = 0x3000;

	TempFile file{disk_size};
	boost::asio::io_context loop{1};
	GuestRam ram{4 << 20};
	GuestMemory memory{ram.bytes()};
	Bus bus;
	std::unique_ptr<Attachment> attachment;
	std::uint16_t submitted = 0;
};

TEST_P(DiskInLoop, ServesRequests)
{
	attach(options_for(file));
	if (!attachment)
		return;
	EXPECT_EQ(attachment->name(), "disk0");
	std::string before = file.contents();
	for (unsigned index = 0; index < 20; index++)
		send(index, VIRTIO_BLK_T_IN, 8 * index);
	notify();
	run_until_used(20);
	for (unsigned index = 0; index < 20; index++) {
		EXPECT_EQ(*memory.read<char>(Gpa{status(index)}), VIRTIO_BLK_S_OK);
		EXPECT_EQ(std::memcmp(memory.range(Gpa{data(index)}, 4096)->data(), before.data() + 4096 * index, 4096), 0);
	}
	// Where they were read from, one on.
	for (unsigned index = 0; index < 20; index++)
		send(index, VIRTIO_BLK_T_OUT, 8 * (index + 1));
	notify();
	run_until_used(40);
	send(0, VIRTIO_BLK_T_FLUSH, 0);
	notify();
	run_until_used(41);
	EXPECT_EQ(*memory.read<char>(Gpa{status(0)}), VIRTIO_BLK_S_OK);
	EXPECT_EQ(file.contents(), before.substr(0, 4096) + before.substr(0, 20 * 4096) + before.substr(21 * 4096));
}

TEST_P(DiskInLoop, ErrorsReachTheDriver)
{
	attach(options_for(file));
	if (!attachment)
		return;
	ASSERT_EQ(ftruncate(file.fd(), 4096), 0);
	for (unsigned index = 0; index < 10; index++)
		send(index, VIRTIO_BLK_T_IN, 8 * index);
	notify();
	run_until_used(10);
	EXPECT_EQ(*memory.read<char>(Gpa{status(0)}), VIRTIO_BLK_S_OK);
	for (unsigned index = 1; index < 10; index++)
		EXPECT_EQ(*memory.read<char>(Gpa{status(index)}), VIRTIO_BLK_S_IOERR);
}

TEST_P(DiskInLoop, ResetStopsAllAccess)
{
	for (unsigned round = 0; round < 10; round++) {
		attachment.reset();
		loop.restart();
		loop.poll();
		bus = Bus{};
		attach(options_for(file));
		if (!attachment)
			return;
		for (unsigned index = 0; index < 20; index++)
			send(index, VIRTIO_BLK_T_IN, 8 * index);
		notify();
		loop.restart();
		for (unsigned steps = 0; steps < round; steps++)
			loop.poll_one();
		set(VIRTIO_MMIO_STATUS, 0);
		std::memset(memory.range(Gpa{data(0)}, 20 * 4096)->data(), '-', 20 * 4096);
		loop.restart();
		loop.run_for(std::chrono::milliseconds{20});
		auto after = memory.range(Gpa{data(0)}, 20 * 4096).value();
		EXPECT_TRUE(std::ranges::all_of(after, [](std::byte byte) { return byte == std::byte{'-'}; }));
	}
}

TEST_P(DiskInLoop, DrainsBeforeItEnds)
{
	attach(options_for(file));
	if (!attachment)
		return;
	std::memset(memory.range(Gpa{data(0)}, 20 * 4096)->data(), 'D', 20 * 4096);
	for (unsigned index = 0; index < 20; index++)
		send(index, VIRTIO_BLK_T_OUT, 8 * index);
	notify();
	while (loop.poll_one() == 0)
		;	// the doorbell
	bool drained = false;
	attachment->drain([&] { drained = true; });
	while (!drained)
		ASSERT_GT(loop.run_one_for(std::chrono::seconds{60}), 0u);
	EXPECT_EQ(used_index(), 20);
	EXPECT_EQ(file.contents().substr(0, 20 * 4096), std::string(20 * 4096, 'D'));
	// Nothing under way: at once.
	drained = false;
	attachment->drain([&] { drained = true; });
	EXPECT_TRUE(drained);
}

INSTANTIATE_TEST_SUITE_P(Disk, DiskInLoop, testing::Values(DiskOptions::Aio::io_uring, DiskOptions::Aio::threads),
			 [](const auto &info) { return info.param == DiskOptions::Aio::io_uring ? "Uring" : "Threads"; });

} // namespace
} // namespace lguest::test
