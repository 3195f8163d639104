-- The stock, and how it moves between shards.
if arg[12] then
  -- A claim that nobody renews ends after this long.
  local CLAIM_MS = 500

  -- What was sent to or received from each peer is {peer, units, ...}, or false.
  local function ever(units, peer)
    for at = 1, units and #units or 0, 2 do
      if units[at] == peer then return units[at + 1], at end
    end
    return 0
  end

  -- In a list of its own: an answer may have the former one.
  local function note(shard, name, peer, units)
    local list = {}
    for at, value in ipairs(shard[name] or list) do list[at] = value end
    local _, at = ever(list, peer)
    at = at or #list + 1
    list[at], list[at + 1] = peer, units
    shard[name] = list
  end

  local function claim_is_open(shard)
    return shard.claimant and now < shard.claim_until
  end

  local function changed(shard, applied, replayed)
    out[n + 1], out[n + 2], out[n + 3] = 'changed', applied, replayed
    n = n + 3
    reading(shard)
  end

  -- Says the decision and returns true, or says that there is none.
  local function decide(shard, p)
    local request, asked, sets = ops[p + 2], ops[p + 3], ops[p + 4]
    -- To set: the total and the expected one; to adjust: by what, and whether
    -- that may be partial.
    local amount, expected = ops[p + 5], ops[p + 6]
    if not shard.supply then
      n = n + 1
      out[n] = 'missing'
      return false
    end
    local earlier = shard.changes and shard.changes[request]
    if earlier == nil then
      earlier = shard.size[3] > 0 and call('HGET', KEYS[shard.k + 4], request)
    end
    if earlier then
      local what = #earlier - 8
      if sub(earlier, 1, what) ~= asked then
        n = n + 1
        out[n] = 'reused'
        return true
      end
      if not expire_due(shard) then
        n = n + 1
        out[n] = 'again'
        return false
      end
      changed(shard, parse('>i8', earlier, what + 1), true)
      return true
    end
    if shard.version < ops[p + 8] then
      out[n + 1], out[n + 2] = 'old_settings', shard.version
      n = n + 2
      return false
    end
    if shard.selling == 3 then
      n = n + 1
      out[n] = 'deleting'
      return true
    end
    local total = shard.supply + shard.surplus
    local delta = amount
    if sets then
      local refused = expected ~= total and 'total_mismatch'
        or amount > TOTAL_MAX and 'total_too_large'
      if refused then
        out[n + 1], out[n + 2] = refused, total
        n = n + 2
        return true
      end
      delta = amount - total
    end
    if delta > 0 and delta > max(0, TOTAL_MAX - total) then
      out[n + 1], out[n + 2] = 'total_too_large', total
      n = n + 2
      return true
    end
    -- Also for a gain: the answer shows the stock after it.
    if not expire_due(shard) then
      n = n + 1
      out[n] = 'again'
      return false
    end
    local applied = delta
    -- What other shards gave twice may be here, but was never stocked.
    local takeable = min(shard.available, total)
    if delta < 0 and -delta > takeable then
      if sets or not expected or not (ops[p + 7] or -delta <= shard.available) then
        out[n + 1], out[n + 2], out[n + 3], out[n + 4] =
          'short', -delta, shard.available, shard.held
        n = n + 4
        return false
      end
      applied = 0 - takeable
    end
    if full then
      n = n + 1
      out[n] = 'full'
      return true
    end
    if applied >= 0 then
      gain(shard, applied)
      shard.supply = shard.supply + applied
    else
      -- What was stocked goes first, then what was given twice.
      local stocked = min(-applied, shard.supply)
      shard.available = shard.available + applied
      shard.supply = shard.supply - stocked
      shard.surplus = shard.surplus + applied + stocked
    end
    shard.changes = shard.changes or {}
    shard.changes[request] = asked .. pack('>i8', applied)
    touch(shard)
    changed(shard, applied, false)
    return true
  end

  rare.change = function(shard, p)
    if decide(shard, p) then end_claim(shard, ops[p + 2]) end
  end

  rare.claim = function(shard, p)
    local claimant = ops[p + 2]
    local open = claim_is_open(shard)
    local since = open and shard.claim_since or now
    if not open or shard.claimant == claimant then
      shard.claimant, shard.claim_since, shard.claim_until = claimant, since, now + CLAIM_MS
      touch(shard)
    end
    out[n + 1], out[n + 2] = 'claimed', since
    n = n + 2
  end

  rare.unclaim = function(shard, p)
    end_claim(shard, ops[p + 2])
    n = n + 1
    out[n] = 'unclaimed'
  end

  rare.lend = function(shard, p)
    local to, wanted, received = ops[p + 2], ops[p + 3], ops[p + 4]
    -- The claim of the shard that asks, and this shard's own number.
    local theirs, me = ops[p + 5], ops[p + 6]
    local sent = ever(shard.sent, to)
    if received > sent then
      -- This shard has lost the end of its history, perhaps with acknowledged
      -- work: it waits for an operator.
      local item, number = string.match(KEYS[shard.k + 1], '^[^}]*}:(.*):%x+:(%d+):h$')
      frozen = {freeze_id, now, string.format(
        'shard %s of item %s sent %.0f units to shard %.0f, which has received %.0f',
        number, item, sent, to, received)}
      out[n + 1], out[n + 2], out[n + 3], out[n + 4] = 'frozen', unpack(frozen)
      n = n + 4
      return
    end
    local given = 0
    if sent == received then
      if not expire_due(shard) then
        n = n + 1
        out[n] = 'again'
        return
      end
      if claim_is_open(shard) then
        local since = shard.claim_since
        if not theirs or theirs > since or theirs == since and to >= me then
          n = n + 1
          out[n] = 'claimed_by_older'
          return
        end
      end
      given = min(wanted, shard.available, max(0, TOTAL_MAX - sent))
      if given > 0 then
        shard.available = shard.available - given
        note(shard, 'sent', to, sent + given)
        touch(shard)
      end
    end
    out[n + 1], out[n + 2], out[n + 3] = 'lent', sent + given, given
    n = n + 3
  end

  rare.credit = function(shard, p)
    local from, sent = ops[p + 2], ops[p + 3]
    local received = ever(shard.received, from)
    if sent > received then
      gain(shard, sent - received)
      received = sent
      note(shard, 'received', from, sent)
      touch(shard)
    end
    out[n + 1], out[n + 2] = 'credited', received
    n = n + 2
  end

  -- The units are gone from here: from what can be bought, and what is not
  -- there any more was given twice.
  rare.reconcile = function(shard, p)
    local peer, received = ops[p + 2], ops[p + 3]
    local missed = max(0, received - ever(shard.sent, peer))
    local surplus = 0
    if frozen and missed > 0 then
      local there = min(missed, shard.available)
      surplus = missed - there
      note(shard, 'sent', peer, received)
      shard.available = shard.available - there
      shard.surplus = shard.surplus + surplus
      touch(shard)
    end
    out[n + 1], out[n + 2], out[n + 3] = 'reconciled', surplus, (ever(shard.received, peer))
    n = n + 3
  end
end
