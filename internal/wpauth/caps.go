package wpauth

import (
	"fmt"
	"slices"

	"holdline/internal/phpser"
)

// Roles are the role definitions of one site.
type Roles struct {
	caps map[string]map[string]bool // role → capability → granted
}

// ParseRoles reads the option {blog prefix}user_roles, for example
// wp_user_roles or, of the second site of a network, wp_2_user_roles. Entries
// without capabilities count as roles that grant nothing.
func ParseRoles(option []byte) (Roles, error) {
	v, err := phpser.Parse(option)
	if err != nil {
		return Roles{}, fmt.Errorf("read the user_roles option: %w", err)
	}
	if v.Kind() != phpser.Array {
		return Roles{}, fmt.Errorf("read the user_roles option: it holds a PHP %v, not an array", v.Kind())
	}
	roles := Roles{caps: make(map[string]map[string]bool, v.Len())}
	for name, role := range v.All() {
		granted := make(map[string]bool)
		caps, _ := role.Get("capabilities")
		for name, value := range caps.All() {
			granted[name.String()] = value.Truthy()
		}
		roles.caps[name.String()] = granted
	}
	return roles, nil
}

// Capabilities are what a user may do on one site. The zero value is a user
// without any role.
type Capabilities struct {
	roles      []string
	held       map[string]bool
	everything bool
}

// Of works out the capabilities of a user from the usermeta row
// {blog prefix}capabilities, nil without one, as get_role_caps
// (class-wp-user.php) does: the capabilities of every role named in the row,
// even with the value false, and over them the row's own entries.
//
// A row that cannot be read grants nothing, as in WordPress; the error is for
// the log. Capabilities about one object (edit_post …) and the filter
// user_has_cap cannot be known here.
func (r Roles) Of(meta []byte) (Capabilities, error) {
	if len(meta) == 0 {
		return Capabilities{}, nil
	}
	own, err := phpser.Parse(meta)
	if err != nil {
		return Capabilities{}, fmt.Errorf("read the capabilities row: %w", err)
	}
	if own.Kind() != phpser.Array {
		return Capabilities{}, fmt.Errorf("read the capabilities row: it holds a PHP %v, not an array", own.Kind())
	}
	c := Capabilities{held: make(map[string]bool)}
	for name := range own.All() {
		granted, isRole := r.caps[name.String()]
		if !isRole {
			continue
		}
		c.roles = append(c.roles, name.String())
		for capability, ok := range granted {
			c.held[capability] = ok
		}
	}
	for name, value := range own.All() {
		c.held[name.String()] = value.Truthy()
	}
	return c, nil
}

// Can tells whether the user has the capability, or the role of that name.
// Everybody has "exist", nobody "do_not_allow" (WP_User::has_cap).
func (c Capabilities) Can(capability string) bool {
	switch capability {
	case "do_not_allow":
		return false
	case "exist":
		return true
	}
	return c.everything || c.held[capability]
}

// Roles returns the names of the user's roles in the row's order.
func (c Capabilities) Roles() []string { return slices.Clone(c.roles) }

// WithSuperAdmin returns the capabilities of the same user as a super admin of
// a multisite network, who can do everything on every site of it.
func (c Capabilities) WithSuperAdmin() Capabilities {
	c.everything = true
	return c
}

// SuperAdmins are the logins of a network's super admins. A single site has no
// such list; there WordPress calls a user who can "delete_users" one.
type SuperAdmins []string

// ParseSuperAdmins reads the sitemeta row site_admins, nil without one. (The
// variable $super_admins of wp-config.php goes before it.) Without a row
// WordPress falls back to the login "admin"; this program prefers to trust
// nobody.
func ParseSuperAdmins(row []byte) (SuperAdmins, error) {
	if len(row) == 0 {
		return nil, nil
	}
	v, err := phpser.Parse(row)
	if err != nil {
		return nil, fmt.Errorf("read the site_admins row: %w", err)
	}
	var admins SuperAdmins
	for _, login := range v.All() {
		if s, ok := login.Text(); ok {
			admins = append(admins, s)
		}
	}
	return admins, nil
}

// Includes compares exactly, as is_super_admin (capabilities.php) does.
func (a SuperAdmins) Includes(login string) bool {
	return slices.Contains(a, login)
}
