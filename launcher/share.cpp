// SPDX-License-Identifier: GPL-2.0-only
// Directories of the host in the guest, see share.h.
#include "share.h"

#include "error.h"
#include "vhost_user_kinds.h"

#include <linux/virtio_ids.h>

namespace lguest {
namespace {

// A request is as large as its queue is long.
constexpr std::uint16_t queue_size = 1024;

} // namespace

std::unique_ptr<Attachment> attach_share(const MachineParts &machine, const ShareOptions &options, std::function<void()> lost)
{
	VhostUserOptions fs;
	fs.id = VIRTIO_ID_FS;
	fs.tag = options.tag;
	fs.queue_size = queue_size;
	VhostUserSetup setup = kept_back_end(fmt::format("share {}", options.tag));
	setup.kind = kind_of(fs);
	setup.lost = std::move(lost);
	std::unique_ptr<Virtiofsd> &daemon = setup.daemon;
	if (setup.kept) {
		// serves on
	} else if (options.socket.empty()) {
		daemon = std::make_unique<Virtiofsd>(Virtiofsd::Settings{options.path, options.read_only, options.cache});
		setup.socket = daemon->take_socket();
	} else {
		setup.socket = connect_unix(options.socket);
	}
	try {
		return attach_back_end(machine, setup);
	} catch (const vhost_user::BackEndError &error) {
		if (daemon)
			fail("cannot share {}: virtiofsd: {}", options.path, daemon->last_words());
		fail("{}: the back end does not do: {}", options.socket, error.what());
	}
}

} // namespace lguest
