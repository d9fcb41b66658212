package wplc

import (
	"strconv"
	"strings"
)

// agentsList is the channel of the open chats, without the source's name.
const agentsList = "agents"

// agentSuffix marks the channel of one chat that carries notes for agents.
const agentSuffix = "/agent"

// room is a channel name that was understood: the agents' list, or a chat's
// channel for everybody or for agents only.
type room struct {
	chat   int64 // 0: the agents' list
	agents bool  // for agents only
}

// parseRoom reads a channel's name without the source's. Only the one spelling
// in which events are sent is taken: "041" would never hear of chat 41.
func parseRoom(name string) (r room, ok bool) {
	if name == agentsList {
		return room{agents: true}, true
	}
	digits, agents := strings.CutSuffix(name, agentSuffix)
	if digits == "" || digits[0] < '1' || digits[0] > '9' {
		return room{}, false
	}
	id, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return room{}, false
	}
	return room{chat: id, agents: agents}, true
}

// channel is the full name on which an event is sent.
func (r room) channel() string {
	if r.chat == 0 {
		return "wplc/" + agentsList
	}
	name := "wplc/" + strconv.FormatInt(r.chat, 10)
	if r.agents {
		name += agentSuffix
	}
	return name
}
