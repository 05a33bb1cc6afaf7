// SPDX-License-Identifier: GPL-2.0-only
// The launcher's memory, see footprint.h.
#include "footprint.h"

#include <cstdint>
#include <link.h>
#include <malloc.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

namespace lguest {
namespace {

// Only what is as it is in the file: relocated data is in segments that were writable.
int shed(dl_phdr_info *object, std::size_t, void *)
{
	const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
	const std::uintptr_t vdso = getauxval(AT_SYSINFO_EHDR);
	for (unsigned index = 0; index < object->dlpi_phnum; index++) {
		const ElfW(Phdr) &segment = object->dlpi_phdr[index];
		std::uintptr_t start = object->dlpi_addr + segment.p_vaddr, end = start + segment.p_memsz;
		if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) || (start <= vdso && vdso < end))
			continue;
		start &= ~(page - 1);
		madvise(reinterpret_cast<void *>(start), end - start, MADV_DONTNEED);
	}
	return 0;
}

} // namespace

void shed_setup_pages()
{
	malloc_trim(0);
	dl_iterate_phdr(shed, nullptr);
}

} // namespace lguest
