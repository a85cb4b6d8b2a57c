#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "tests/reference/plain_model.h"

namespace weft::reference {

/// What came of many programs.
struct Tally {
  int64_t programs = 0, statements = 0;
  int64_t agree = 0, both_refuse = 0, conservative = 0, unsupported = 0, disagree = 0;
  std::map<std::string, int64_t> kinds;      // of nodes, in programs that ran and agree
  std::map<std::string, int64_t> operators;  // by overload, likewise
  std::map<std::string, int64_t> reasons;    // why programs were refused, by the first words
  std::string failure;                       // the first disagreement, with a small program
};

/// The model of a seed's program.
const PlainModel& ModelOf(uint64_t seed);
/// And that program, in the text form.
std::string ProgramOf(uint64_t seed);

/// Run the programs of the seeds from `first` on both ways. `report` prints how far it is.
Tally RunCampaign(uint64_t first, int64_t programs, bool report);

/// What came of many programs that something was made wrong in.
struct SpoiledTally {
  int64_t refused = 0, valid = 0;  // valid all the same
  std::string failure;             // the first that was refused without naming a statement
};

/// Spoil the programs of the seeds from `first` on, and run them.
SpoiledTally RunSpoiled(uint64_t first, int64_t programs);

/// What came of programs that shared their passes with others.
struct CompanyTally {
  int64_t programs = 0;  // that ran in company
  std::string failure;   // the first whose result was another than alone, with all of its pass
};

/// Run the programs of the seeds from `first` on alone, and a few at a time in shared passes:
/// nobody's result depends on who else is there.
CompanyTally RunInCompany(uint64_t first, int64_t programs);

/// What was seen fewer than `least` times, a line each.
std::string Rare(const Tally& tally, int64_t least);
/// The counts, in a line.
std::string Summary(const Tally& tally);

}  // namespace weft::reference
