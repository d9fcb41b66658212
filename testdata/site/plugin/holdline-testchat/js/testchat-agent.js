/*
 * The agents' side: the dashboard's loop, the chat window's loop, and the timer that
 * says somebody is there. 1.5 s between an answer and the next poll, 5 s after an error.
 */
var wplc_run = true;

(function ($) {
  // Polls for ever: data() gives the form, handle(text) takes every answer with text in it.
  function loop(data, handle) {
    var pause = 1500, over = false;
    $.ajax({
      url: wplc_ajaxurl, type: 'POST', data: data(), timeout: 120000,
      success: function (response) {
        if (response === '0') { over = true; return; }
        if (response) { handle(response); }
      },
      error: function (xhr, failure) {
        pause = 5000;
        over = xhr.status === 404 || failure === 'parsererror' || failure === 'abort';
      },
      complete: function () {
        if (wplc_run && !over) { setTimeout(function () { loop(data, handle); }, pause); }
      }
    });
  }

  function post(action, fields, done) {
    $.ajax({
      url: wplc_ajaxurl, type: 'POST', success: done,
      data: $.extend({ action: action, security: wplc_ajax_nonce, cid: wplc_cid }, fields)
    });
  }

  function dashboard() {
    var list = 'false'; // the last list, sent back byte for byte
    function handle(response) {
      response = JSON.parse(response);
      if (response.error) { location.reload(); return; }
      list = response.wplc_update_admin_chat_table;
      $('#wplc_pending').text(response.pending ? 'somebody is waiting' : '');
      var chats = JSON.parse(list), rows = $('#wplc_chat_list').empty();
      $.each(chats.ids || {}, function (id) {
        var chat = chats[id], row = $('<tr>').attr('data-cid', id).appendTo(rows);
        $.each([id, chat.name, chat.email, chat.status, chat.timestamp, chat.type, chat.data.browsing_nice_url], function (_, text) {
          $('<td>').text(text === null ? '' : text).appendTo(row);
        });
        $('<td>').html(chat.action).appendTo(row);
      });
    }
    loop(function () {
      return {
        action: 'wplc_admin_long_poll', security: wplc_ajax_nonce,
        wplc_list_visitors_data: 'false', wplc_update_admin_chat_table: list
      };
    }, handle);
  }

  function chat() {
    var status = 3, first_run = true;
    function say(mid, message) {
      var text = String(message.msg).replace(/\\(.?)/g, '$1');
      $('#admin_chat_box_area').append($('<p>').attr('data-mid', mid).addClass('wplc-from-' + message.originates).html(text));
    }
    // What an answer of the loop means, whoever brings it.
    window.wplc_loop_response_handler = function (response) {
      response = JSON.parse(response);
      if (response.chat_status !== undefined) {
        status = response.chat_status;
        $('#wplc_state').text(status);
      }
      $.each(response.chat_history || {}, say);
      if (typeof response.chat_message === 'object') { $.each(response.chat_message, say); }
    };
    loop(function () {
      var data = {
        action: 'wplc_admin_long_poll_chat', security: wplc_ajax_nonce, cid: wplc_cid,
        chat_status: status, first_run: first_run, msg_from_print: 'Admin'
      };
      first_run = false;
      return data;
    }, window.wplc_loop_response_handler);
    $('#wplc_admin_write').on('submit', function (event) {
      event.preventDefault();
      var text = $('#wplc_admin_chatmsg').val();
      $('#wplc_admin_chatmsg').val('');
      say(0, { msg: $('<i>').text(text).html(), originates: 1 });
      post('wplc_admin_send_msg', { msg: text });
    });
    $('#wplc_admin_close_chat').on('click', function () { post('wplc_admin_close_chat', {}); });
  }

  $(function () {
    function present() { post('wplc_admin_set_transient', { security: wplc_transient_nonce }); }
    present();
    setInterval(present, 60000);
    if (wplc_cid) { chat(); } else { dashboard(); }
  });
})(jQuery);
