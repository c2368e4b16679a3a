-- What is over is swept away by the server; it lacked the right.
grant delete on privileged.connect_codes, privileged.seats to accessbroker;
