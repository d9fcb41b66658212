/*
 * The visitor's side: a short poll when the page loads, held polls from the start of
 * a chat on, 1.5 s between an answer and the next poll, 5 s after an error. The
 * names wplc_* are those that other scripts look for in a real page.
 */
var wplc_run = true;
var wplc_server_last_loop_data = {};

(function ($) {
  var session = String(new Date().getTime()); // new with every page: the newest tab owns the chat
  var status = 5;
  var shown = {};

  function cookie(name, value) {
    if (value === undefined) {
      var found = document.cookie.match(new RegExp('(?:^|; )' + name + '=([^;]*)'));
      return found ? decodeURIComponent(found[1]) : '';
    }
    document.cookie = name + '=' + encodeURIComponent(value) + '; path=/; max-age=' + (value === '' ? 0 : 86400);
  }

  function post(action, fields, done) {
    return $.ajax({
      url: wplc_ajaxurl, type: 'POST',
      data: $.extend({ action: action, security: wplc_nonce, cid: cookie('wplc_cid') }, fields),
      success: done
    });
  }

  function say(mid, message) {
    if (mid && shown[mid]) { return; }
    shown[mid] = true;
    var text = String(message.msg).replace(/\\(.?)/g, '$1');
    $('#wplc_chatbox').append($('<p>').attr('data-mid', mid).addClass('wplc-from-' + message.originates).html(text));
  }

  function show(data) {
    if (typeof data === 'string') { $('#wplc_chatbox').append(data); return; }
    $.each(data || {}, say);
  }

  function set_status(next) {
    status = Number(next);
    cookie('wplc_chat_status', status);
    $('#wplc_state').text(status);
    var chatting = status === 2 || status === 3 || status === 10;
    $('#wplc_start').prop('hidden', chatting);
    $('#wplc_write').prop('hidden', !chatting);
    $('#wplc_chatbox').toggle(status !== 10);
    if (chatting) { wplc_run = true; }
  }

  // What an answer of the loop means, whoever brings it. Empty: nothing new.
  window.wplc_loop_response_handler = function (response, data) {
    if (!response) { return; }
    if (response === '0') { wplc_run = false; return; }
    response = JSON.parse(response);
    $.each(['wplc_name', 'wplc_email', 'cid'], function (_, key) {
      if (response[key] !== undefined) { data[key] = response[key]; }
    });
    if (response.cid) { cookie('wplc_cid', response.cid); }
    $(document).trigger('wplc_user_chat_loop', response);
    if (response.status === undefined || response.status === null) { return; }
    var next = Number(response.status);
    if (next !== status) { set_status(next); }
    data.status = status;
    show(response.data);
    if (next === 8 || next === 11) { // ended, or open in another tab: no more polls
      wplc_run = false;
      $('#wplc_write :input').prop('disabled', true);
      if (next === 11) { $('#wplc_box').hide(); return; }
      cookie('wplc_chat_status', '');
      cookie('wplc_cid', '');
    }
  };

  window.wplc_call_to_server_chat = function (data, first_run, short_poll) {
    data.first_run = first_run;
    data.short_poll = short_poll;
    wplc_server_last_loop_data = data;
    var pause = 1500;
    $.ajax({
      url: wplc_ajaxurl, type: 'POST', data: data, timeout: 120000,
      success: function (response) { window.wplc_loop_response_handler(response, data); },
      error: function (xhr, failure) {
        if (xhr.status === 404 || failure === 'parsererror' || failure === 'abort') { wplc_run = false; return; }
        pause = 5000;
        $('#wplc_chatbox').append('<small>' + xhr.responseText + ' Retrying in 5 seconds...</small>');
      },
      complete: function () {
        if (wplc_run) { setTimeout(function () { window.wplc_call_to_server_chat(data, false, false); }, pause); }
      }
    });
  };

  function loop_data() {
    return {
      action: 'wplc_call_to_server_visitor', security: wplc_nonce, cid: cookie('wplc_cid'),
      wplc_name: $('#wplc_name').val(), wplc_email: $('#wplc_email').val(), status: status,
      wplcsession: session, wplc_is_mobile: false, wplc_extra_data: { object_switch: true }
    };
  }

  function start(event) {
    event.preventDefault();
    var asked = { name: $('#wplc_name').val(), email: $('#wplc_email').val(), wplcsession: session };
    post('wplc_start_chat', asked, function (cid) {
      if (cid === 'error2') { return; }
      cookie('wplc_cid', $.trim(cid));
      var polls = wplc_run;
      set_status(2);
      wplc_server_last_loop_data.cid = $.trim(cid);
      wplc_server_last_loop_data.status = 2;
      if (!polls) { window.wplc_call_to_server_chat(loop_data(), false, false); }
    });
  }

  function send(event) {
    event.preventDefault();
    var text = $('#wplc_chatmsg').val();
    $('#wplc_chatmsg').val('');
    say(0, { msg: $('<i>').text(text).html(), originates: 2 });
    post('wplc_user_send_msg', { msg: text });
  }

  function end() {
    $.post(wplc_restapi_endpoint + '/end_chat', { token: wplc_restapi_token, chat_id: cookie('wplc_cid'), agent_id: 0 });
  }

  function minimise() {
    if (status === 10) { post('wplc_user_maximize_chat', { chat_status: 3 }); return; }
    post('wplc_user_minimize_chat', {});
  }

  $(function () {
    $.ajax({
      url: wplc_ajaxurl_site, type: 'POST',
      data: { action: 'wplc_get_chat_box', security: wplc_nonce, cid: cookie('wplc_cid') },
      success: function (response) {
        response = JSON.parse(response);
        $('#testchat').html(response.cbox).attr('data-online', response.online);
        $('#wplc_start').on('submit', start);
        $('#wplc_write').on('submit', send);
        $('#wplc_end_chat').on('click', end);
        $('#wp-live-chat-minimize').on('click', minimise);
        // A page that only browses asks once; a chat under way turns the polls on.
        wplc_run = wplc_filter_run_override === '1' && response.online;
        window.wplc_call_to_server_chat(loop_data(), true, !wplc_run);
      }
    });
  });
})(jQuery);
