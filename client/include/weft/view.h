#pragma once

#include <functional>
#include <string>
#include <utility>

#include "weft/location.h"
#include "weft/saved.h"
#include "weft/var.h"

namespace weft {

/// A value of a module in another form, whose changes are written back: the heads of an attention,
/// say, of what the model keeps as one vector.
///
///   weft::View heads() const {
///     return weft::View([m = *this] { return m["c_proj"].input(); },
///                       [](const weft::Var& x) { return x.unflatten(-1, {12, 64}); },
///                       [](const weft::Var& heads) { return heads.flatten(-2); });
///   }
///   ...
///   attention.heads()[{Slice(), Slice(), 3}] = 0.0;     // head 3, at every token
///   Var values = attention.heads().value();
///
/// Each use reads the value anew, and so sees writes that were recorded before. For the thread that
/// records.
class View {
 public:
  using Site = std::function<Var()>;
  using Form = std::function<Var(const Var&)>;

  /// `site` gives what is shown, as a value that can be assigned to (`module.output()`); `show`
  /// makes the view of it, and `restore` the reverse.
  View(Site site, Form show, Form restore)
      : site_(std::move(site)), show_(std::move(show)), restore_(std::move(restore)) {}

  /// The view, as a value of its own.
  Var value() const { return show_(site_()); }
  operator Var() const { return value(); }  // NOLINT: it is used where a value is
  Saved<Tensor> save(Location where = Location::current()) const { return value().save(where); }
  Saved<Tensor> save(const std::string& name, Location where = Location::current()) const {
    return value().save(name, where);
  }

  /// Replace all of it by a value of the view's shape, or fill it with a number.
  void operator=(const Operand& value) const { Write(Ellipsis(), value); }
  void operator=(const View& other) const { *this = Operand(other.value()); }
  void operator+=(const Operand& other) const { *this = Operand(value() + other, other.where()); }
  void operator-=(const Operand& other) const { *this = Operand(value() - other, other.where()); }
  void operator*=(const Operand& other) const { *this = Operand(value() * other, other.where()); }
  void operator/=(const Operand& other) const { *this = Operand(value() / other, other.where()); }
  View(const View&) = default;

  /// A part of a view, which can be read and assigned to.
  class Part;
  Part operator[](const Indices& indices) const;

 private:
  void Write(const Indices& indices, const Operand& value) const {
    // A value apart, so that this is right for forms that are copies as well as for views.
    Var changed = show_(site_()).clone(value.where());
    changed[indices] = value;
    site_() = Operand(restore_(changed), value.where());
  }

  Site site_;
  Form show_, restore_;
};

class View::Part {
 public:
  Var value() const { return view_.value()[indices_]; }
  operator Var() const { return value(); }  // NOLINT: it is used where a value is
  Saved<Tensor> save(Location where = Location::current()) const { return value().save(where); }
  Saved<Tensor> save(const std::string& name, Location where = Location::current()) const {
    return value().save(name, where);
  }

  void operator=(const Operand& value) const { view_.Write(indices_, value); }
  void operator=(const Part& other) const { *this = Operand(other.value()); }
  void operator+=(const Operand& other) const { *this = Operand(value() + other, other.where()); }
  void operator-=(const Operand& other) const { *this = Operand(value() - other, other.where()); }
  void operator*=(const Operand& other) const { *this = Operand(value() * other, other.where()); }
  void operator/=(const Operand& other) const { *this = Operand(value() / other, other.where()); }
  Part(const Part&) = default;

 private:
  friend class View;
  Part(const View& view, const Indices& indices) : view_(view), indices_(indices) {}

  View view_;
  Indices indices_;
};

inline View::Part View::operator[](const Indices& indices) const { return Part(*this, indices); }

}  // namespace weft
