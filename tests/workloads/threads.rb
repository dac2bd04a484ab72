# A child whose second thread writes what its parent has made, and a parent with a thread that is about to.
text = 'x' * (300 * 4096)
idle = Thread.new { sleep }
pid = fork do
  Thread.new do
    index = 0
    while index < text.bytesize
      text.setbyte(index, 33) # written
      index += 4096
    end
  end.join
  exit!(0)
end
Process.wait(pid)
# Who owns memory is read from it: a server goes on.
sleep 1
idle.kill
