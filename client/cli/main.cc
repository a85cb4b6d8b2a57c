#include "client/cli/command_line.h"

int main(int argc, char** argv) { return weft::cli::Main(argc, argv, nullptr); }
