#pragma once

namespace weft::devices {

/// Ends the threads that OpenMP keeps to share out this thread's work (at::parallel_for). Work that
/// is shared out later starts them again, which takes some 20 µs each.
///
/// OpenMP keeps them for each thread that ever shared out work. Where all that it keeps outnumber
/// the cores, they sleep as soon as they have nothing to do, also those that are at work for
/// another thread, and waking them costs more than a small operator does. So whoever has shared
/// out work and goes to do something else is to call this. Not from within shared work. Does
/// nothing where LibTorch came without OpenMP.
void GiveThreadsBack();

}  // namespace weft::devices
