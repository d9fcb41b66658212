package wplc

import (
	"context"
	"fmt"

	"holdline/internal/chat"
)

// MayRead tells whether a viewer may read the channel wplc/<name>:
//
//   - a grant (token, visitor binding) that names the channel, or "wplc/*"; a
//     grant of wplc/42 does not reach wplc/42/agent or wplc/agents
//   - a WordPress user who is an agent reads everything. An agent is, in 8.x, a
//     user whose meta wplc_ma_agent is not empty, the plugin's only test; in 5.x
//     a user with the capability wplc_ma_agent or manage_options
//
// Nobody else reads anything: the plugin serves a chat to whoever knows its
// number, and the numbers are consecutive. An error is one of the database; the
// answer is then no. Safe for concurrent use; at most two look-ups of one user.
func (s *Source) MayRead(ctx context.Context, v chat.Viewer, name string) (bool, error) {
	r, ok := parseRoom(name)
	if !ok {
		return false, nil
	}
	if v.HasGrant(r.channel()) {
		return true, nil
	}
	if v.UserID <= 0 {
		return false, nil
	}
	agent, err := s.isAgent(ctx, v.UserID)
	if err != nil {
		return false, fmt.Errorf("wplc: find out whether user %d is an agent: %w", v.UserID, err)
	}
	return agent, nil
}

func (s *Source) isAgent(ctx context.Context, userID int64) (bool, error) {
	if s.facts.Version == 8 {
		value, _, err := s.site.UserMeta(ctx, userID, "wplc_ma_agent")
		return value != "" && value != "0", err // "0" is empty to PHP
	}
	for _, capability := range []string{"wplc_ma_agent", "manage_options"} {
		if can, err := s.site.UserCan(ctx, userID, capability); can || err != nil {
			return can, err
		}
	}
	return false, nil
}
