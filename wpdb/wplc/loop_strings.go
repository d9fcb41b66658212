package wplc

import (
	"context"
	"strings"
)

// Strings are the translatable texts of the loops, text domain wplivechat.
type Strings struct {
	Admin          string // the agent's name in the visitor's page
	AgentEnded     string
	NoAnswer       string // where WPLC_SETTINGS.wplc_user_no_answer is not set
	RequestNewChat string
	NoAddress      string // instead of the visitor's IP address
	WhoisFor       string
	AcceptChat     string
	OpenChat       string
	InitiateChat   string
	New            string
	Returning      string

	NoAnswer5 string // 5.x
	GetPro5   string // 5.x: at the button of a second chat
}

// English are the texts as they stand in the plugin.
func English() Strings {
	return Strings{
		Admin:          "Admin",
		AgentEnded:     "Admin has closed and ended the chat",
		NoAnswer:       "No agent was able to answer your chat request. Please try again.",
		RequestNewChat: "Request new chat",
		NoAddress:      "IP Address not recorded",
		WhoisFor:       "Whois for",
		AcceptChat:     "Accept Chat",
		OpenChat:       "Open Chat",
		InitiateChat:   "Initiate Chat",
		New:            "New",
		Returning:      "Returning",
		NoAnswer5:      "There is No Answer. Please Try Again Later",
		GetPro5:        "Get Pro Add-on to accept more chats",
	}
}

func (l *Loop) strings() Strings {
	if l.Strings == nil {
		return English()
	}
	return *l.Strings
}

// places are the URLs that the dashboard shows, as the plugin makes them.
func (r *round) places(ctx context.Context) (admin, plugin string, err error) {
	admin, plugin = r.l.AdminURL, r.l.PluginURL
	if admin != "" && plugin != "" {
		return admin, plugin, nil
	}
	site, _, err := r.s.site.Option(ctx, "siteurl")
	if err != nil {
		return "", "", err
	}
	site = strings.TrimSuffix(site, "/")
	if admin == "" {
		admin = site + "/wp-admin/"
	}
	if plugin == "" {
		plugin = site + "/wp-content/plugins/wp-live-chat-support/"
	}
	return admin, plugin, nil
}

// noAnswer is the note that nobody came (functions.php:848-870).
func (r *round) noAnswer(ctx context.Context) (string, error) {
	words := r.l.strings()
	text := words.NoAnswer
	settings, _, err := r.s.setting(ctx, "WPLC_SETTINGS")
	if err != nil {
		return "", err
	}
	if v, ok := settings.Get("wplc_user_no_answer"); ok {
		if own, ok := v.Text(); ok {
			text = stripSlashes(own)
		}
	}
	return "<span class='wplc_system_notification wplc_no_answer wplc-color-4'><center>" + text +
		" <br /><button class='wplc_retry_chat wplc-color-bg-1 wplc-color-2' cid='" + r.l.form.cid + "'>" +
		words.RequestNewChat + "</button></center></span>", nil
}
